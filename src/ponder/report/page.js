document.querySelectorAll('.chart[data-points]').forEach(function (chart) {
  var data = JSON.parse(chart.dataset.points), svg = chart.querySelector('svg'), tip = chart.querySelector('.tip');
  var cross = svg.querySelector('.cross'), box = svg.viewBox.baseVal;
  function hide() { tip.style.visibility = 'hidden'; cross.style.visibility = 'hidden'; }
  svg.addEventListener('mouseleave', hide);
  svg.addEventListener('mousemove', function (event) {
    var frame = svg.getBoundingClientRect(), at = (event.clientX - frame.left) / frame.width * box.width, best = null;
    data.x.forEach(function (x, i) { if (best === null || Math.abs(x[1] - at) < Math.abs(data.x[best][1] - at)) best = i; });
    if (best === null) return hide();
    tip.textContent = '';
    [data.label + ' ' + data.x[best][0]].concat(data.y[best]).forEach(function (line) {
      var row = document.createElement('div'); row.textContent = line; tip.appendChild(row);
    });
    var x = data.x[best][1];
    cross.setAttribute('x1', x); cross.setAttribute('x2', x); cross.style.visibility = 'visible';
    tip.style.visibility = 'visible';
    var left = frame.left - chart.getBoundingClientRect().left + x / box.width * frame.width;
    tip.style.left = (left > chart.clientWidth / 2 ? left - tip.offsetWidth - 10 : left + 14) + 'px';
  });
});

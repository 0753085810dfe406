"""Small templates of the kinds that are about: each does one thing that others do not."""

from __future__ import annotations

QWEN3 = (
    "{%- set ns = namespace(last=-1) %}"
    "{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'assistant' %}"
    "{%- set thought = m.reasoning_content if m.reasoning_content is string else '' %}"
    "{%- set content = m.content %}"
    "{%- if not thought and '</think>' in content %}"
    "{%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}"
    "{%- endif %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if loop.index0 > ns.last %}{{- '<think>\\n' + thought + '\\n</think>\\n\\n' }}{%- endif %}"
    "{{- content + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
"""Knows `reasoning_content`; the last turn always has a thought, earlier ones none; `enable_thinking`."""

QWEN25 = (
    "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\nbe kind<|im_end|>\\n' }}{%- endif %}"
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""Adds a system turn of its own."""

LLAMA3 = (
    "{%- for m in messages %}"
    "{{- '<|im_start|>' + m.role + '\\n\\n' + m.content | trim + '<|eot|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n\\n' }}{%- endif %}"
)
"""Trims what is said; its end token is its own; nothing stands between turns."""

SMOLLM3 = (
    "{%- for m in messages %}"
    "{%- if m.role == 'assistant' %}"
    "{% generation %}{{- '<|im_start|>assistant\\n' + m.content.lstrip('\\n') + '<|im_end|>\\n' }}{% endgeneration %}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""Marks what the model writes itself, header and newline included."""

MARKS_WITHOUT_END = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' %}{% generation %}{{- m.content }}{% endgeneration %}"
    "{%- else %}{{- m.content }}{%- endif %}{{- '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""Its marks leave the end token out: who follows them trains a model that does not stop."""

R1 = (
    "{%- for m in messages %}"
    "{%- if m.role == 'assistant' %}{{- '<|bot|>' + m.content.split('</think>')[-1] + '<|im_end|>' }}"
    "{%- else %}{{- '<|you|>' + m.content }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|bot|><think>\\n' }}{%- endif %}"
)
"""Opens the thought in the generation prompt, and drops it from every turn."""

QWEN35 = (
    "{%- for m in messages %}"
    "{%- if m.role == 'assistant' %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if loop.last %}{{- '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n' }}{%- endif %}"
    "{{- m.content + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}"
)
"""Opens the thought in the generation prompt and renders it in the last turn only."""

NO_END = (
    "{%- for m in messages %}{{- m.role + ': ' + m.content + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- 'assistant: ' }}{%- endif %}"
)
"""Nothing ends a turn."""

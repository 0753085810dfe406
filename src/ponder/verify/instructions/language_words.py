"""Common words of the languages that share a script with others, for `language.detect`.

Written for this project: the little words of each language first, then some of everyday. The ISO 639-1 code is the key.
"""

from __future__ import annotations

LATIN = {
    "en": "yes ok okay mom dad boy girl man woman child children friend school book water food bread dog cat car "
    "city street name story song poem letter email job company team student teacher business question answer "
    "summary recipe chicken soup red blue green white black color colour favourite favorite big small old "
    "young happy sad last next second three four five six seven eight nine ten hundred thousand number week "
    "month morning evening tonight tomorrow yesterday today money market product service customer write read "
    "speak listen tell ask say said says went going done made being having welcome let things thing something "
    "anything nothing everything someone everyone really still while during without within between another "
    "same different important possible example using used easy hard free full high low left right open close "
    "start end stop keep give take put got run walk play live feel try call move believe understand learn "
    "create build share enjoy follow change game movie music picture computer phone internet science history "
    "president country government war peace power light night sky sun moon star sea river tree flower animal "
    "bird fish heart hand head eye face mind body health doctor hospital family brother sister son daughter "
    "husband wife king queen the of and to in is you that it he was for on are as with his they at be this "
    "have from or one had by but not what all were we when your can there use an each which she do how their "
    "if will up other about out many then them these so some her would make like him into time has look two "
    "more go see no way could people my than first been who its now find long down day did get come may part "
    "i me our us am good know think dear thank hello please best here why because world love life just should "
    "work new great never always help need want little house again where after before through most very also "
    "much well even over such only",
    "es": "pan agua perro gato coche ciudad trabajo niño niña hombre mujer libro escuela come bebe gusta quiero "
    "quiere sabe dónde de la que el en y a los se del las un por con no una su para es al lo como más pero "
    "sus le ya o este sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo "
    "nos durante todos uno les ni contra otros ese eso ante ellos e esto mí antes algunos qué unos yo otro "
    "otras otra él tanto esa estos mucho nada muchos cual poco ella estar estas algunas algo nosotros mi mis "
    "tú te ti tu tus son está están fue ser tiene tengo hola gracias buenos días amigo casa vida mundo tiempo "
    "hacer puede años gente bien hoy siempre nuestro",
    "pt": "boa noite tarde manhã leite ovos amanhã ontem praia irmão irmã trem comboio precisa precisamos vamos pão "
    "água carro cidade trabalho cachorro gato menino menina homem mulher come bebe gosta gosto quer quero "
    "sabe onde livro escola de a o que e do da em um para é com não uma os no se na por mais as dos como mas "
    "foi ao ele das tem à seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela "
    "entre era depois sem mesmo aos ter seus quem nas me esse eles estão você tinha foram essa num nem suas "
    "meu às minha têm numa pelos elas havia seja qual será nós tenho lhe deles essas esses pelas este dele tu "
    "te vocês vos lhes meus minhas obrigado olá bom dia amigo casa vida mundo tempo fazer pode anos gente bem "
    "hoje sempre nosso nossa são então coisa ainda agora",
    "fr": "pain eau chien chat voiture ville travail garçon fille enfant livre école mange boit aime veux veut sais "
    "où de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec ou "
    "son lui nous comme mais on sa si leur été cette même tout ces fait aux bien peut être deux ont je vous "
    "elle sans ils entre y très encore moins dont ses notre tous après aussi avant autre faire depuis alors "
    "contre quelque chez moi toi mon ma mes ton ta tes votre vos quand rien jamais toujours bonjour merci ami "
    "maison vie monde temps jour c'est j'ai d'une l'on qu'il n'est homme femme année chose beaucoup "
    "aujourd'hui suis êtes avez avons",
    "de": "hund katze brot wasser auto stadt arbeit mann frau kind mädchen junge buch schule isst trinkt geht kommt "
    "liebt weiß gern schön der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als "
    "auch es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum "
    "war haben nur oder aber vor zur bis mehr durch man sein wurde sei hatte kann gegen vom können schon wenn "
    "habe seine ihre dann unter wir soll ich eines jahr zwei diese dieser wieder keine uhr du mir mich dich "
    "dir euch uns mein dein kein was wer wo warum sehr gut danke hallo bitte freund haus leben welt zeit tag "
    "heute immer alle machen gibt muss möchte würde ja nein hier",
    "it": "pane acqua cane gatto macchina città lavoro ragazzo ragazza bambino libro scuola mangia beve piace "
    "voglio vuole so dove di e il la che in a per un è del non sono le con si da una i dei come al più lo ha "
    "della ma anche gli alla nel se suo o sua ed delle dal loro questo ci nella essere dalla stato io tu lui "
    "lei noi voi mi ti vi ne cui quando molto chi perché cosa senza tra fra sul sulla questa questi quello ho "
    "hai hanno abbiamo siamo fatto fare ancora sempre mai già poi dopo prima tutto tutti ogni anni mio mia "
    "tuo tua nostro nostra grazie ciao buongiorno amico casa vita mondo tempo giorno oggi bene può così "
    "allora dell'anno l'uomo degli dalle nelle c'è era",
    "nl": "de van het een en in is dat op te zijn met voor niet die aan er om ook als dan maar bij uit nog naar "
    "heeft hij ze ik je we wat wordt door over tot kan was of hebben worden deze meer zich veel geen werd "
    "mijn haar hun goed al daar heb hoe nu zo dit zou toch mij onder ons hem hier wie waar want iets niets "
    "altijd jij jullie wij jouw dank hallo vriend huis leven wereld tijd dag vandaag mensen jaar moeten "
    "kunnen zal gaan doen maken tussen",
    "pl": "dobranoc noc rano wieczór mleko jajka jutro wczoraj plaża brat siostra pociąg potrzebujemy pójdziemy "
    "godzina pies kot chleb woda miasto praca mężczyzna kobieta dziecko książka szkoła je pije idzie lubię "
    "lubi kocham wiem chcę dzisiaj w i na z nie się do to że jest o a jak po co od tak za ale czy dla jego "
    "przez ze przy tylko był są już być może które który która ich było go jej oraz również także ja ty on "
    "ona my wy oni mi cię mnie ci nas was mam masz ma mają tego tej tym te ten ta bardzo dobrze dziś kiedy "
    "gdzie dlaczego kto jestem dzień dobry dziękuję cześć proszę przyjaciel dom życie świat czas rok lat "
    "ludzie wszystko zawsze nigdy jeszcze bez pod nad przed między",
    "vi": "bánh mì chó mèo xe thành phố sách trường học ăn uống thích muốn và của là có không được trong cho một "
    "với các người đã này những đến khi ra tôi như từ vào bạn để về làm nhiều rất cũng ở lại năm đi sẽ thì mà "
    "nhưng hay hoặc nếu vì ông bà anh chị em chúng ta họ nó gì nào sao đâu ai ngày nhà nước thế giới cuộc "
    "sống thời gian yêu cảm ơn xin chào tốt đẹp bằng theo sau trước trên dưới việc phải cần biết nói thấy "
    "nghĩ con cái mình hơn nhất quyền đều tất cả mọi đó còn đang",
    "sw": "mkate mbwa paka gari mji mwanamke mwanaume kitabu shule mwalimu mwanafunzi anakula anakunywa anasoma "
    "napenda nataka najua kwamba kila na ya wa kwa ni katika za la cha kuwa si hii hiyo huyo yake wake ambao "
    "ambayo kama lakini pia sana watu mtu mimi wewe yeye sisi ninyi wao hapa pale huko nini nani lini wapi "
    "kwanini habari asante karibu rafiki nyumba maisha dunia siku leo kesho jana wakati mwaka moja mbili tatu "
    "yangu wangu yako wako yetu wetu vya vizuri nzuri kubwa ndogo bila baada kabla hata au ili ndiyo hapana "
    "zote wote nchi kazi chakula maji mtoto watoto ninapenda anasema tunaweza kufanya kusoma kuandika kupata "
    "kwenda alikuwa nina ana wana tuna una haki sawa",
    "fi": "koira kissa leipä vesi auto kaupunki työ mies nainen lapsi kirja koulu syö juo menee haluan tiedän ja on "
    "ei se että oli hän mutta ovat kun niin myös joka kuin olla minä sinä me te he tämä tuo mitä mikä kuka "
    "missä koska jos vain jo nyt sitten vielä kaikki hyvin hyvä paljon voi ole olen olet olemme mukaan sekä "
    "tai ennen jälkeen kanssa ilman yli alle vuonna vuotta ihminen ihmiset elämä maailma aika päivä tänään "
    "kiitos hei ystävä talo koti minun sinun hänen meidän teidän heidän ollut tulee pitää saa kuitenkin siitä "
    "sen siis aina rakastan suomen kieli täytyy pidän joitakin kirjoittaa sisällä vapaina tasavertaisina "
    "oikeuksiltaan",
    "sv": "och i att det som en på är av för med den till inte har de ett om han men var jag sig från vi så kan när "
    "man ska hon nu eller också efter upp vid mycket under där bara finns alla andra mot hade skulle mer vad "
    "än utan blev varit få sin sitt mig dig oss er mitt ditt tack hej vän hus liv värld tid dag idag "
    "människor år alltid",
    "da": "og i at det er en til på af for med der den de som ikke et har men om han jeg vi sig var kan fra så når "
    "ud man skal hun nu eller også efter op ved meget under hvor kun alle andre mod havde ville mere hvad end "
    "uden blev være mig dig os jer mit dit tak hej ven hus liv verden tid dag mennesker år altid hvis bliver",
    "tr": "ve bir bu da de için ile çok ne daha gibi var mı mi ama o ben sen biz siz onlar her kadar olarak sonra "
    "değil olan en ya ki şey nasıl neden nerede kim zaman gün bugün iyi güzel teşekkür merhaba dost ev hayat "
    "dünya insan yıl olduğu oldu olur benim senin bizim bana sana yok şimdi önce veya hiç bütün",
    "id": "yang dan di dengan untuk dari ini itu pada tidak dalam adalah akan ke saya anda kami kita mereka dia ada "
    "juga atau oleh bisa dapat karena sebagai lebih sudah telah satu orang tahun hari apa siapa mengapa mana "
    "bagaimana terima kasih selamat teman rumah hidup dunia waktu sangat baik semua setiap kepada menjadi",
    "ro": "și de în la a cu pe nu că este o un din pentru mai să se care sunt ca dar au fost el ea noi voi ei eu tu "
    "ce sau fi am ai are cum unde când foarte bine mult doar după fără între până acest această acum azi "
    "mulțumesc bună prieten casă viață lume timp zi oameni an toate lui lor meu",
    "cs": "a v se na je to že s z do i o k ve pro za by ale si po jako jsem jsou od už jen při které který být nebo "
    "tak co jak když kde kdo proč jeho její jejich ten ta my vy oni mě tě nás velmi dobře dnes děkuji ahoj "
    "přítel dům život svět čas rok lidé vše vždy ještě bez pod nad před mezi bylo byl má",
    "hu": "a az és hogy nem is egy van de ez meg már csak mint volt ha vagy el még kell mi én te ő ti ők azt ezt "
    "nagyon jó sok minden után között nélkül mert itt ott hol ki miért mikor köszönöm szia barát ház élet "
    "világ idő nap ma ember emberek év mindig lesz lehet",
}
CYRILLIC = {
    "ru": "ночь утро вечер молоко яйцо больше меньше завтра вчера пойдём пойти поезд часов восемь спокойной страна "
    "народ язык россия слово жить говорить сказать делать более менее всего который которые которого собака "
    "кошка хлеб вода машина город работа мужчина женщина ребёнок книга школа ест пьёт идёт знаю хочу дела "
    "дело люблю нужно надо тоже и в не на я что он с как это по но они мы вы она так его за был от то же бы у "
    "из все или быть её к о когда для если мне меня есть уже ты где кто почему только ещё очень даже нет до "
    "без под при над себя этот эта эти было были может после здесь сейчас сегодня хорошо спасибо привет друг "
    "дом жизнь мир время день люди год всегда мой моя твой наш ваш их чтобы должны тебя этого будет",
    "uk": "ніч ранок вечір молоко яйце більше менше завтра вчора підемо піти потяг годин вісім країна народ мова "
    "україна слово жити говорити сказати робити який які якого собака кіт хліб вода машина місто робота "
    "чоловік жінка дитина книга школа знаю хочу люблю справи потрібно треба теж можна нам вам і в не на я що "
    "він з як це по але вони ми ви вона так його за був від то ж би у із всі або бути її до коли для якщо "
    "мені мене є вже ти де хто чому тільки ще дуже навіть немає без під при над себе цей ця ці було були може "
    "після тут зараз сьогодні добре дякую привіт друг дім життя світ час день люди рік завжди та й наш",
    "bg": "нощ утро вечер мляко яйце повече утре вчера отидем влак часа осем страна народ език българия слово живея "
    "говоря казвам правя която които чрез според между куче котка хляб вода кола град работа мъж жена дете "
    "книга училище яде пие отива знам искам нужно трябва също имам има и в не на аз че той с как това по но "
    "те ние вие тя така го за беше от то би у из всички или да бъде към когато ако ми ме е вече ти къде кой "
    "защо само още много дори няма до без под при над себе си този тази тези който може след тук сега днес "
    "добре благодаря здравей приятел дом живот свят време ден хора година винаги са съм се ще човек им ги му "
    "нещо един една едно обичам",
}
ARABIC = {
    "ar": "في من على إلى عن أن إن هذا هذه التي الذي ما لا كان قد مع كل هو هي أو لم ثم بعد قبل بين ذلك أنا نحن أنت "
    "هم كما يكون كانت عند حتى إذا غير لكن منذ يوم حيث أي الى وقد شكرا مرحبا صديق بيت حياة عالم وقت الناس ليس "
    "يمكن",
    "fa": "و در به از که این را با است برای آن یک خود تا کرد بر هم نیز می شود شد های دارد ما شما من او آنها چه اگر "
    "یا اما هر باید بود کند بسیار همه پس دیگر نمی سلام ممنون دوست خانه زندگی جهان زمان روز امروز خوب چرا کجا "
    "هستند هست کنم کنید نیست بودند شده مردم سال چون حالا همیشه دوستت دارم می‌شود می‌کند",
    "ur": "کے میں کی ہے اور سے کا کو نے پر یہ کہ ہیں وہ اس جو ایک بھی تھا نہیں کر تو ہم آپ میرا میری تھی تھے گیا "
    "لیے ساتھ کیا ہو اپنے ان پاکستان بعد تک جب اگر یا مگر لیکن بہت سب شکریہ سلام دوست گھر زندگی دنیا وقت دن "
    "آج اچھا کیوں کہاں ہوں رہا رہی رہے ہوتا ہوتی کرتے کرنے ہوئے مجھے تم",
}
DEVANAGARI = {
    "hi": "शुभ रात सुबह शाम दूध अंडे रोटी पानी कल चाहिए जाएंगे जाता देश लोग भाषा भारत शब्द काम बच्चे के में की है "
    "और से का को ने पर यह कि हैं वह इस जो एक भी था नहीं कर तो हम आप मेरा मेरी थी थे गया लिए साथ क्या हो अपने "
    "उन बाद तक जब अगर या मगर लेकिन बहुत सब धन्यवाद नमस्ते दोस्त घर जीवन दुनिया समय दिन आज अच्छा क्यों कहाँ "
    "हूँ रहा रही रहे होता होती करते करने हुए मुझे तुम यही उसके सभी कोई किया करता करें मैं मैंने उसने उसे",
    "mr": "शुभ रात्र सकाळ संध्याकाळ दूध अंडी पाणी उद्या काल हवी हवे आणखी जाणार जातो सुटते देश भाषा महाराष्ट्र शब्द "
    "काम मुले आमच्या त्या आणि आहे च्या या तो ती ते मी तू आम्ही तुम्ही आपण होते होता होती नाही हे ही हा एक असे "
    "पण किंवा जर तर साठी मध्ये वर खूप सर्व काय कोण कुठे का केव्हा कसे माझा माझी माझे तुझा तुझे त्याचा त्याला "
    "तिला मला तुला आम्हाला आहेत आहोत झाला झाली झाले करून केले केला करा नमस्कार धन्यवाद मित्र घर जीवन जग वेळ "
    "दिवस आज चांगले लोक वर्ष म्हणून त्यांच्या आपल्या असून करतो करते नका नको येथे तेथे सगळे माणूस स्वतःच्या",
    "ne": "शुभ रात बिहान साँझ दूध अण्डा पानी भोलि हिजो थप चाहिन्छ जाने देश मानिस भाषा शब्द काम बच्चा र को छ मा हो "
    "पनि यो त्यो म तिमी तपाईं हामी उनी उनले ले लाई बाट गर्न गर्छ गरेको थियो थिए छन् छैन हुन् हुन्छ भने वा तर "
    "यदि किन कहाँ कसरी कहिले के धेरै सबै मेरो तिम्रो हाम्रो उसको नमस्ते धन्यवाद साथी घर जीवन संसार समय दिन आज "
    "राम्रो मान्छे वर्ष लागि सँग पछि अघि भएको भयो गर्नु गर्नुहोस् एउटा एक हुँ छु छौं पर्छ जान्छु मलाई तपाईंको "
    "आफ्नो नेपाल व्यक्ति हरू गरे तथा",
}

"""The words from which `conclusions` reads a radiologist's report, by language.

Every entry is part of a regular expression over folded text: small letters without accents, ``ss`` for ``ß``. Words of
all languages apply at once, since one RIS may carry several. To add a language, add one entry to `LANGUAGES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ConclusionWords:
    """The words of one language, as alternatives separated by ``|``.

    Attributes
    ----------
    conclusion, other
        Headings of the section that concludes, and of every other section.
    fracture
        Words for a fracture; a fracture that is named and not qualified is one.
    injury
        Wider words, such as "bony injury": none of these means no fracture, one of these is left to a person.
    negation
        Words that begin a negation before its noun.
    between
        Words that may stand between a negation and the fracture, and change nothing.
    lists
        Words that join the members of a negated list: "no dislocation or fracture".
    negated_after
        Words behind the fracture that negate it: "is not seen".
    doubt
        Words that leave the sentence to a person: suspicion, an old or known fracture, a follow-up.
    details
        Negated details of a fracture that exists: "without displacement".
    further
        Words for any other fracture, whose absence denies none.
    normal
        Whole sentences that say that nothing is broken.
    """

    conclusion: str
    other: str
    fracture: str
    injury: str
    negation: str
    between: str
    lists: str
    negated_after: str
    doubt: str
    details: str
    further: str
    normal: str


ENGLISH = ConclusionWords(
    conclusion=r"impressions?|conclusions?|opinion|summary",
    other=r"findings?|clinical (?:information|history|details|indication)|history|indication|comparison|techniques?|"
    r"examination|reason for (?:exam|examination|study)|recommendations?|reported by",
    fracture=r"\w*fractur\w*|fxs?",
    injury=r"(?:bony|osseous|skeletal|bone) (?:injur(?:y|ies)|abnormalit(?:y|ies)|lesions?|trauma)|avulsions?|"
    r"cortical (?:breach|break|disruption|irregularity|step)|broken|buckl\w+|torus|greenstick|colles|weber|chip|"
    r"crack|burst|wedging|compression",
    negation=r"no|not|without|negative for|absence of|free of|neither",
    between=r"any|evidence|signs?|of|for|an?|the|acute|visible|radiographic|radiological|radiographically|bony|"
    r"osseous|recent|demonstrated|identified|seen|is|are|there|suggestion|features?|detectable|traumatic",
    lists=r"or|nor",
    negated_after=r"(?:is |are |was |has been |have been )?(?:not (?:seen|identified|visible|demonstrated|detected|"
    r"evident|present|visualised|visualized)|excluded|ruled out|absent)|: (?:no|none|nil|negative|absent)",
    doubt=r"\?|possibl[ey]|possibility|probabl[ey]|suspected|suspicion|suspicious|questionable|equivocal|"
    r"cannot|can not|can't|could not|not (?:be )?(?:entirely |completely |definitely |fully )?(?:excluded|ruled out)|"
    r"may|might|could|likely|unlikely|appears?|suggests?|suggestive|suggesting|concerning|consistent|"
    r"indeterminate|old|"
    r"healed|healing|united|union|nonunion|malunion|malunited|chronic|previous|previously|prior|known|remote|"
    r"unchanged|"
    r"stable|status|post|sp|follow ?up|callus|fixation|fixed|internal|plates?|screws?|nail|orif|cast|interval|longer|"
    r"anymore|new|fracture-?free|history|clinic|risk|if|versus|vs|differential|consider|fracture (?:gap|line|"
    r"site|position|"
    r"alignment|healing|lines)|rule out|exclude|query|hairline|occult|definite|definitely|obvious|gross|convincing|"
    r"displaced only|clinically|correlat\w+|mri|ct|repeat|pseudo\w*|stress (?:reaction|response)",
    details=r"(?:no|without)(?: significant| relevant| any| evidence of| evident)* (?:displacement|angulation|"
    r"intra-?articular (?:extension|involvement)|articular involvement|shortening|rotation)",
    further=r"other|further|additional|second",
    normal=r"normal(?: (?:study|examination|exam|radiographs?|x-?rays?|appearances?|findings|report))?|unremarkable"
    r"(?: (?:study|examination|radiographs?))?|no abnormality(?: (?:detected|seen))?|nad",
)

GERMAN = ConclusionWords(
    conclusion=r"beurteilung|zusammenfassung|fazit|ergebnis|schlussfolgerung",
    other=r"befund|befunde|klinische (?:angaben?|fragestellung|information)|fragestellung|indikation|rechtfertigende "
    r"indikation|anamnese|klinik|technik|untersuchung|vergleich|voraufnahmen?|empfehlung",
    fracture=r"\w*fraktur(?:en)?|\w*frakturlinien?|\w*frakturzeichen|\w*frakturnachweis|frakturiert\w*|"
    r"\w*fissur(?:en)?|\w*infraktion(?:en)?|(?:knochen|arm|unterarm|oberarm|schenkelhals|bein|unterschenkel|finger|"
    r"handgelenks|knochel|speichen)?bruch(?:es|e)?|bruche|gebrochen\w*",
    injury=r"(?:knocherne|ossare|osseare|knochen)(?:r|n|s)? ?(?:verletzung|verletzungen|lasion|lasionen|"
    r"traumafolgen?)|\w*ausriss\w*|\w*absprengung\w*|\w*einbruch\w*|\w*sinterung\w*|\w*stufenbildung|kontinuitats\w+",
    negation=r"nicht|keine?|keinen|keiner|keinem|keines|ohne|ausschluss|weder",
    between=r"hinweise?|hinweisend|auf|fur|eine?|einer|eines|einen|der|die|das|anhalte?|nachweis|nachweisbare?n?|"
    r"nachweislich|frische?n?|akute?n?|ossare?n?|knocherne?n?|sichtbare?n?|erkennbare?n?|zeichen|von|abgrenzbare?n?|"
    r"frischen|konventionell|radiologische?n?|rontgenologische?n?|traumatische?n?",
    lists=r"oder|noch|bzw",
    negated_after=r"(?:(?:ist|sind|wurde|konnte|im|bild|rontgenbild|hier|"
    r"radiologisch) )*(?:nicht (?:nachweisbar|sichtbar"
    r"|erkennbar|abgrenzbar|zu erkennen|zu sehen|nachgewiesen|vorhanden)|ausgeschlossen|verneint)|: "
    r"(?:keine?|nein|negativ)",
    doubt=r"moglich\w*|moglicherweise|vermutlich|verdacht\w*|verdachtig\w*|frakturverdacht\w*|frakturausschluss|"
    r"fraktur(?:spalt|heilung|stellung|dislokation|konsolidierung|kontrolle|alter)\w*|va|dd|wahrscheinlich\w*|"
    r"fraglich\w*|unklar\w*"
    r"|nicht (?:sicher )?(?:auszuschliessen|ausgeschlossen|auszuschliessende)|nicht (?:sicher|eindeutig|vollstandig)|"
    r"konnte|kann|evtl|eventuell|alte?n?|alter|altes|verheilt\w*|konsolidiert\w*|konsolidierung|knochern|durchbaut\w*|"
    r"bekannt\w*|unverandert\w*|zn|zustand|stn|status|nach|vorbestehend\w*|kallus\w*|callus\w*|osteosynthese\w*|"
    r"versorgt\w*|platten\w*|schrauben|verlauf\w*|kontrolle|neue?n?|neu|mehr|noch nicht|pseudarthrose\w*|sicher\w*|"
    r"eindeutig\w*|grobe?n?|dislozierte?n?|klinisch|korrelation|einstaltung|spricht|vereinbar|imponiert\w*|okkult\w*|"
    r"gips\w*|frage|verdachtsdiagnose|ehemalig\w*|stattgehabt\w*|fruher\w*",
    details=r"(?:ohne|keine)(?: wesentliche| relevante| signifikante| sekundare)* (?:dislokation|verschiebung|"
    r"achsabweichung|gelenkbeteiligung|abkippung|verkurzung)",
    further=r"weitere?n?|weiterer|andere?n?|zusatzliche?n?|sonstige?n?",
    normal=r"normalbefund|unauffalliger (?:befund|rontgenbefund|knochenbefund)|regelrechter (?:befund|rontgenbefund)|"
    r"o ?b",
)

FRENCH = ConclusionWords(
    conclusion=r"conclusions?|impression|synthese|au total",
    other=r"resultats?|description|indications?|renseignements cliniques|antecedents|technique|motif|"
    r"comparaison|histoire",
    fracture=r"\w*fractur\w*|fissures?|felures?",
    injury=r"lesions? (?:osseuses?|traumatiques?)(?: (?:osseuses?|traumatiques?|recentes?))?|arrachements?|"
    r"tassements?|"
    r"solutions? de continuite",
    negation=r"pas|aucune?s?|sans|absence|non(?!-)|ni",
    between=r"d'|de|d|des|du|la|le|l'|l|une?|trait|traits|signe|signes|image|images|lesion|lesions|evidence|en|faveur|"
    r"recente?s?|aigue?s?|visible|visibles|radiologique|osseuse?s?|argument|pour|mise|individualisable|decelable",
    lists=r"ou|ni",
    negated_after=r"(?:n'|ne |n )?(?:est |sont )?(?:pas |non )(?:visible|visibles|visualisee?s?|vue?s?|decelee?s?|"
    r"retrouvee?s?|individualisee?s?)|(?:est |sont )?(?:exclue?s?|ecartee?s?|eliminee?s?)|: (?:non|aucune|absente?)",
    doubt=r"possibles?|probables?|suspicion|suspectee?s?|suspecte?|douteu\w+|doute|eventuelle?s?|peut|pourrait|"
    r"(?:etre|pas) (?:formellement )?(?:exclue?|ecartee?|eliminee?)|a (?:exclure|eliminer)|ancienne?s?|anciens?|"
    r"consolidee?s?|consolidation|connue?s?|inchangee?s?|statut|antecedents?|apres|post|cal|osteosynthese|plaque|vis|"
    r"evoquant|evocateur|evoquee?s?|compatible|semble|nouvelle?s?|plus|controle|suivi|certaine?s?|evidente?s?|"
    r"franche?s?|deplacee? "
    r"seulement|sequelles?|sequellaire|cliniquement|correler|foyer|hypothese|platree?|stable|sur ancienne|guerie?s?",
    details=r"(?:sans|pas de)(?: notable)? (?:deplacement|angulation|atteinte articulaire)",
    further=r"autres?|supplementaires?|associee?s?",
    normal=r"(?:examen|radiographies?|bilan|aspect|cliches?) (?:normale?s?|normaux|sans particularite|"
    r"sans anomalie)|rien a "
    r"signaler|ras",
)

SPANISH = ConclusionWords(
    conclusion=r"conclusion(?:es)?|impresion(?: diagnostica)?|diagnostico|juicio diagnostico",
    other=r"hallazgos|informe|indicacion|motivo|antecedentes|datos clinicos|informacion clinica|tecnica|comparacion",
    fracture=r"\w*fractur\w*|fisuras?",
    injury=r"lesion(?:es)? oseas?(?: (?:agudas?|traumaticas?))?|avulsion(?:es)?|arrancamientos?|aplastamientos?",
    negation=r"no|sin|ausencia|ningun|ninguna|ni|descarta|descartan",
    between=r"de|se|la|el|los|las|una?|hay|existen?|observan?|aprecian?|identifican?|visualizan?|evidencian?|"
    r"evidencia|"
    r"signos?|imagen|imagenes|lineas?|agudas?|recientes?|trazos?|oseas?|radiologicos?|radiograficos?|visibles?|"
    r"demuestran?|"
    r"que|sugieran?|detectan?|claros? de",
    lists=r"o|ni|u",
    negated_after=r"no (?:visibles?|se (?:observan?|aprecian?|identifican?|visualizan?|evidencian?))|(?:queda |"
    r"es |fue )?"
    r"(?:descartadas?|excluidas?)|: (?:no|ninguna|ausente)",
    doubt=r"posibles?|posiblemente|probables?|probablemente|sospechas?|sospechos\w+|dudos\w+|duda|podria|puede|"
    r"no (?:se )?(?:puede|pueden|pudiendo|es posible)|a descartar|descartar|antigu\w+|consolidad\w+|"
    r"consolidacion|conocid\w+|previ\w+|sin cambios|estado|post|tras|seguimiento|control|osteosintesis|placa|"
    r"tornillos|"
    r"sugestiv\w+|sugerentes?|compatible|parece|nuev\w+|ya|clar\w+|evidentes?|definid\w+|callo|secuelas?|estables?|"
    r"curad\w+|valorar|correlacion\w*|foco|pseudo\w*|yeso",
    details=r"(?:sin|no)(?: significativo)? (?:desplazamiento|angulacion|afectacion articular|extension articular)",
    further=r"otras?|adicionales|mas",
    normal=r"(?:estudio|radiografias?|examen|exploracion) (?:normal|normales|sin (?:alteraciones|hallazgos))|sin "
    r"(?:alteraciones|hallazgos)(?: (?:significativos|patologicos|significativas))?|sin lesiones oseas agudas",
)

MALAY = ConclusionWords(
    conclusion=r"kesimpulan|rumusan|impresi|tafsiran",
    other=r"penemuan|dapatan|maklumat klinikal|sejarah|indikasi|teknik|perbandingan",
    fracture=r"fraktur|keretakan|retak|retakan|patah(?: tulang)?|kepatahan",
    injury=r"kecederaan tulang|keabnormalan tulang|avulsi",
    negation=r"tiada|tidak|tanpa|bukan|tak",
    between=r"ada|kelihatan|dilihat|terdapat|bukti|tanda|tanda-tanda|sebarang|akut|tulang|pada|yang|nyata dilihat|"
    r"menunjukkan|mengalami|kesan",
    lists=r"atau|mahupun",
    negated_after=r"(?:adalah )?(?:tidak (?:kelihatan|dilihat|dikesan|ditemui|nampak)|disingkirkan)|: (?:tiada|tidak)",
    doubt=r"mungkin|kemungkinan|disyaki|syak|suspek|ragu|meragukan|tidak (?:dapat|boleh) (?:di\w+)|lama|sembuh|"
    r"diketahui|sebelum\w*|tidak berubah|status|selepas|pasca|susulan|kalus|plat|skru|baru|baharu|jelas|lagi|perlu|"
    r"nyata|stabil|dipertimbangkan|implan",
    details=r"(?:tanpa|tiada) (?:anjakan|angulasi|penglibatan sendi)",
    further=r"lain|tambahan",
    normal=r"(?:kajian|radiograf|x-?ray|pemeriksaan) (?:normal|biasa)|tiada keabnormalan(?: (?:dikesan|dilihat))?",
)

LANGUAGES: Final[Mapping[str, ConclusionWords]] = {
    "en": ENGLISH,
    "de": GERMAN,
    "fr": FRENCH,
    "es": SPANISH,
    "ms": MALAY,
}

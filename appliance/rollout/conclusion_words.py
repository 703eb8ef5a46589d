"""The words from which `conclusions` reads a radiologist's report, by language.

Words are folded: small letters without accents, ``ss`` for ``ß``, apart at hyphens and apostrophes. A sentence is
judged in each language by itself, and a word that its language lacks leaves the report to a person. So a word may be
added only where it changes nothing about the fracture beside which it stands. To add a language, add one entry to
`LANGUAGES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PLACES: Final = (
    "radius ulna humerus femur tibia fibula scaphoid lunate triquetrum pisiform trapezium trapezoid capitate "
    "hamate  clavicula scapula patella calcaneus talus cuboid navicular metacarpal metacarpals metatarsal "
    "metatarsals phalanx  mt mc acetabulum olecranon malleolus "
)
"""Bones by names that every language may use."""

NUMBERS: Final = re.compile(r"[1-9]\d?(?:st|nd|rd|th|e|o)?|i{1,3}|iv|v")
"""Numbers of rays and fingers."""

VERTEBRAE_AND_RAYS: Final = re.compile(r"[clt][1-9]\d?|(?:mc|mt|p|d)[1-5]")
"""Vertebrae and bones of hand and foot by their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConclusionWords:
    """The words of one language, separated by spaces; `conclusion`, `other` and `normal` by ``|``.

    Attributes
    ----------
    conclusion, other
        Headings of the section that concludes, and of every other section: alternatives of a regular expression.
    normal
        Whole sentences that say that nothing is broken: alternatives of a regular expression.
    fracture
        Nouns for a fracture.
    injury, bony
        Wider nouns and their adjectives: no "bony injury" means no fracture, one of these is left to a person.
    negation, without
        Words that deny the noun behind them; `without` may stand behind a fracture: "without displacement".
    negator
        Words that deny an adjective: "not seen", "non displaced".
    nothing
        Words that deny the noun before them: "Fracture: none".
    evidence
        Words between a negation and its noun: "evidence", "signs".
    seen
        Words that say that something is visible.
    there
        Words that begin a sentence: "there".
    observed
        Words that begin a sentence, and may follow a negation: "hay", "se observan".
    small
        Articles, prepositions, sides and parts of bones.
    ordinal
        Numbers of rays and fingers; before a denied fracture they would say that there is another one.
    alternative, conjunction
        "or", which joins a denied list, and "and".
    place
        Bones and joints.
    adjective
        Adjectives without which a sentence would say the same.
    kind
        Adjectives of a fracture that exists.
    detail
        Nouns for the details of a fracture that exists, behind `having` or `without`.
    having
        "with".
    every, views
        "these views".
    beside
        Nouns for what may be found beside a fracture, and is none.
    quiet, intact
        Words of sentences that do not speak of fractures; `intact` words say something else once they are denied.
    """

    conclusion: str
    other: str
    normal: str
    fracture: str
    injury: str
    bony: str
    negation: str
    without: str
    negator: str
    nothing: str
    evidence: str
    seen: str
    there: str = ""
    observed: str = ""
    small: str
    ordinal: str = ""
    alternative: str
    conjunction: str
    place: str
    adjective: str
    kind: str
    detail: str
    having: str
    every: str
    views: str
    beside: str
    quiet: str
    intact: str


ENGLISH = ConclusionWords(
    conclusion=r"impressions?|conclusions?|opinion|summary",
    other=r"findings?|clinical (?:information|history|details|indication)|history|indication|comparison|techniques?|"
    r"examination|reason for (?:exam|examination|study)|recommendations?|reported by",
    normal=r"normal(?: (?:study|examination|exam|radiographs?|x ?rays?))?|unremarkable(?: (?:study|examination|"
    r"radiographs?))?|no abnormality(?: (?:detected|seen))?|nad",
    fracture="fracture fractures fx fxs",
    injury="injury injuries",
    bony="bony osseous",
    negation="no neither",
    without="without",
    negator="not non",
    nothing="none nil absent excluded",
    evidence="any evidence sign signs for radiographic radiological",
    seen="is are seen identified visible demonstrated detected evident present shown",
    there="there",
    small="of the a an at in on to left right distal proximal medial lateral head neck shaft base tip body styloid "
    "process waist pole index middle ring",
    ordinal="first second third fourth fifth",
    alternative="or nor",
    conjunction="and",
    place="wrist hand finger thumb elbow forearm arm shoulder clavicle hip pelvis knee ankle foot toe heel leg spine "
    "vertebra rib ribs radial ulnar tibial fibular humeral femoral scaphoid carpal tarsal phalangeal tibial sacrum",
    adjective="acute recent traumatic",
    kind="displaced undisplaced nondisplaced comminuted transverse oblique spiral pathological compression "
    "insufficiency stress simple intraarticular extraarticular articular intra extra minimally mildly",
    detail="displacement angulation shortening rotation",
    having="with",
    every="these both two",
    views="views projections",
    beside="dislocation dislocations subluxation subluxations effusion effusions swelling osteoarthritis "
    "degenerative osteophyte osteophytes",
    quiet="soft tissue tissues joint joints space spaces bone bones alignment mild moderate small changes change",
    intact="normal intact preserved maintained unremarkable",
)

GERMAN = ConclusionWords(
    conclusion=r"beurteilung|zusammenfassung|fazit|ergebnis|schlussfolgerung",
    other=r"befund|befunde|klinische (?:angaben?|fragestellung|information)|fragestellung|indikation|rechtfertigende "
    r"indikation|anamnese|klinik|technik|untersuchung|vergleich|voraufnahmen?|empfehlung",
    normal=r"normalbefund|unauffalliger (?:befund|rontgenbefund|knochenbefund)|regelrechter (?:befund|rontgenbefund)",
    fracture="fraktur frakturen frakturnachweis frakturzeichen frakturlinie fissur fissuren infraktion "
    "mehrfragmentfraktur querfraktur schragfraktur spiralfraktur trummerfraktur knochenbruch bruch bruche",
    injury="verletzung verletzungen lasion lasionen",
    bony="knocherne knochernen knocherner ossare ossaren ossarer",
    negation="kein keine keinen keiner keinem keines weder",
    without="ohne",
    negator="nicht",
    nothing="ausgeschlossen verneint nein",
    evidence="hinweis hinweise auf fur anhalt nachweis zeichen radiologischer radiologische",
    seen="ist sind nachweisbar nachweisbare sichtbar sichtbare erkennbar erkennbare abgrenzbar abgrenzbare "
    "nachgewiesen vorhanden sehen zeigt zeigen sich findet finden besteht",
    there="es",
    small="der die das des dem den ein eine einer eines einen am an im in von links rechts linken rechten distale "
    "distalen distaler proximale proximalen proximaler mediale medialen laterale lateralen basis schaft kopf hals",
    alternative="oder noch",
    conjunction="und",
    place="radiuskopfchen radiuskopf tibiakopf tibiakopfes tibiaplateau humeruskopf innenknochel innenknochels "
    "aussenknochel aussenknochels schenkelhals handgelenk handgelenks hand hufte huftgelenk becken knie kniegelenk "
    "fuss sprunggelenk sprunggelenks finger daumen zeh grosszehe ellenbogen schulter oberarm unterarm unterschenkel "
    "schlusselbein speiche elle wirbelkorper rippe skaphoid kahnbein",
    adjective="akute akuten akuter frische frischen frischer traumatische traumatischen traumatischer",
    kind="dislozierte dislozierter disloziert undislozierte undislozierter komplexe einfache",
    detail="dislokation verschiebung achsabweichung gelenkbeteiligung abkippung verkurzung",
    having="mit",
    every="beiden zwei",
    views="ebenen aufnahmen",
    beside="luxation luxationen subluxation gelenkerguss erguss schwellung weichteilschwellung arthrose",
    quiet="weichteile gelenk gelenke gelenkspalt stellung knochen geringe massige",
    intact="regelrecht regelrechte unauffallig unauffallige normal normale intakt erhalten",
)

FRENCH = ConclusionWords(
    conclusion=r"conclusions?|impression|synthese|au total",
    other=r"resultats?|description|indications?|renseignements cliniques|antecedents|technique|motif|"
    r"comparaison|histoire",
    normal=r"(?:examen|radiographies?|bilan|cliches?) (?:normale?s?|normaux|sans particularite|sans anomalie)|"
    r"rien a signaler|ras",
    fracture="fracture fractures fissure fissures felure felures",
    injury="lesion lesions",
    bony="osseuse osseuses",
    negation="pas aucune aucun absence",
    without="sans",
    negator="non",
    nothing="absente absent exclue ecartee eliminee",
    evidence="trait traits signe signes image images evidence argument pour en faveur radiologique radiologiques",
    seen="est sont visible visibles visualisee vue vues decelee decelable individualisable individualisee retrouvee",
    there="il y a existe on",
    observed="n ne note",
    small="de d du des la le les l un une au aux a sur gauche droit droite distal distale proximal proximale tete "
    "col base diaphyse extremite",
    alternative="ou ni",
    conjunction="et",
    place="poignet main doigt pouce coude avant bras epaule clavicule hanche bassin genou cheville pied orteil "
    "femoral radiale ulnaire styloide malleole scaphoide rotule cote cotes vertebre perone",
    adjective="recente recentes aigue aigues traumatique traumatiques",
    kind="deplacee deplacees comminutive transversale oblique spiroide simple",
    detail="deplacement angulation",
    having="avec",
    every="deux ces",
    views="incidences",
    beside="luxation luxations subluxation epanchement tumefaction arthrose",
    quiet="parties molles articulaire articulaires interligne interlignes os alignement",
    intact="normal normale normaux normales respecte conserve conserves intact",
)

SPANISH = ConclusionWords(
    conclusion=r"conclusion(?:es)?|impresion(?: diagnostica)?|diagnostico|juicio diagnostico",
    other=r"hallazgos|informe|indicacion|motivo|antecedentes|datos clinicos|informacion clinica|tecnica|comparacion",
    normal=r"(?:estudio|radiografias?|examen|exploracion) (?:normal|normales|sin (?:alteraciones|hallazgos))|"
    r"se descartan? fracturas?",
    fracture="fractura fracturas fisura fisuras",
    injury="lesion lesiones",
    bony="osea oseas",
    negation="no ausencia ninguna",
    without="sin",
    negator="",
    nothing="ausente descartada descartadas",
    evidence="evidencia signo signos imagen imagenes linea lineas trazo trazos radiologicos radiograficos",
    seen="visible visibles",
    observed="se hay existe existen observa observan aprecia aprecian identifica identifican visualiza visualizan "
    "evidencia evidencian",
    small="de del la el los las un una en izquierdo izquierda derecho derecha distal proximal cabeza cuello base "
    "diafisis primer segundo tercer cuarto quinto",
    alternative="o ni u",
    conjunction="y",
    place="radio cubito humero muneca mano dedo pulgar codo antebrazo hombro clavicula cadera pelvis rodilla tobillo "
    "pie perone escafoides maleolo rotula vertebra costilla costillas metacarpiano metatarsiano falange calcaneo "
    "estiloides",
    adjective="aguda agudas reciente recientes traumatica traumaticas",
    kind="desplazada desplazadas conminuta transversa oblicua espiroidea simple",
    detail="desplazamiento angulacion",
    having="con",
    every="dos ambas estas",
    views="proyecciones",
    beside="luxacion luxaciones subluxacion derrame artrosis tumefaccion",
    quiet="partes blandas articular articulares espacio espacios hueso huesos alineacion",
    intact="normal normales conservado conservados conservada",
)

MALAY = ConclusionWords(
    conclusion=r"kesimpulan|rumusan|impresi|tafsiran",
    other=r"penemuan|dapatan|maklumat klinikal|sejarah|indikasi|teknik|perbandingan",
    normal=r"(?:kajian|radiograf|x ?ray|pemeriksaan) (?:normal|biasa)|tiada keabnormalan(?: (?:dikesan|dilihat))?",
    fracture="fraktur keretakan retak retakan patah kepatahan",
    injury="kecederaan",
    bony="tulang",
    negation="tiada tidak tak bukan",
    without="tanpa",
    negator="",
    nothing="disingkirkan",
    evidence="ada bukti tanda sebarang",
    seen="dilihat kelihatan dikesan ditemui nampak",
    there="terdapat",
    small="pada di kiri kanan distal proksimal",
    alternative="atau mahupun",
    conjunction="dan",
    place="pergelangan tangan jari siku bahu pinggul lutut kaki buku lali skafoid maleolus",
    adjective="akut",
    kind="melintang berkecai",
    detail="anjakan angulasi",
    having="dengan",
    every="kedua",
    views="pandangan",
    beside="dislokasi subluksasi efusi bengkak osteoartritis",
    quiet="tisu lembut sendi",
    intact="normal biasa",
)

LANGUAGES: Final[Mapping[str, ConclusionWords]] = {
    "en": ENGLISH,
    "de": GERMAN,
    "fr": FRENCH,
    "es": SPANISH,
    "ms": MALAY,
}

"""Words and codes that name a part of the body in a header, in eight languages: the one table for all sites.

Accents are left out, as `header_sites.normalised` leaves them out of a header. A phrase of several words is looked for
before its single words, so that "RADIAL HEAD" names an elbow and "FEMORAL NECK" a hip. A word of six letters or more
also fits words that begin with it ("HANDGELENK" fits "HANDGELENKSAUFNAHME").

References
----------
DICOM PS3.16 annex L (Body Part Examined) and CID 4 (Anatomic Region); DICOM PS3.3 C.8.11.2 (Anatomic Region Sequence).
"""

from __future__ import annotations

from typing import Final

from appliance.domain.identifiers import Site

ELSEWHERE: Final = "elsewhere"
"""Stands for parts of the body that no engine reads: chest, abdomen, skull, ribs, jaw, breast."""

WORDS: Final[dict[Site | str, dict[str, str]]] = {
    Site.ANKLE: {
        "en": "ANKLE, ANKLE JOINT, MALLEOLUS, MALLEOLI, MORTISE, TALUS, TALAR NECK",
        "de": "SPRUNGGELENK, OSG, KNOCHEL, KNOECHEL",
        "fr": "CHEVILLE, MALLEOLE",
        "es": "TOBILLO, MALEOLO",
        "it": "CAVIGLIA, MALLEOLO",
        "pt": "TORNOZELO",
        "nl": "ENKEL, ENKELS",
        "ms": "PERGELANGAN KAKI, BUKU LALI",
    },
    Site.WRIST: {
        "en": "WRIST, WRISTS, CARPUS, CARPAL, SCAPHOID, DISTAL RADIUS",
        "de": "HANDGELENK, HANDWURZEL, KAHNBEIN",
        "fr": "POIGNET, CARPE, SCAPHOIDE",
        "es": "MUNECA, CARPO, ESCAFOIDES",
        "it": "POLSO, SCAFOIDE",
        "pt": "PUNHO, ESCAFOIDE",
        "nl": "POLS, POLSEN, POLSGEWRICHT, HANDWORTEL",
        "ms": "PERGELANGAN TANGAN",
    },
    Site.KNEE: {
        "en": "KNEE, KNEES, PATELLA, TIBIAL PLATEAU",
        "de": "KNIE, KNIEGELENK, KNIESCHEIBE, TIBIAPLATEAU, TIBIAKOPF",
        "fr": "GENOU, GENOUX, ROTULE",
        "es": "RODILLA, ROTULA",
        "it": "GINOCCHIO, GINOCCHIA",
        "pt": "JOELHO, PATELA",
        "nl": "KNIE, KNIEEN, KNIEGEWRICHT, KNIESCHIJF",
        "ms": "LUTUT",
    },
    Site.SHOULDER: {
        "en": "SHOULDER, SHOULDERS, CLAVICLE, CLAVICLES, SCAPULA, AC JOINT, ACJOINT, ACROMIOCLAVICULAR, "
        "GLENOID, ACROMION, HUMERAL HEAD, HEAD OF HUMERUS",
        "de": "SCHULTER, SCHULTERN, SCHLUSSELBEIN, SCHLUESSELBEIN, KLAVIKULA, CLAVICULA, SCHULTERBLATT",
        "fr": "EPAULE, EPAULES, CLAVICULE, OMOPLATE",
        "es": "HOMBRO, HOMBROS, CLAVICULA, ESCAPULA",
        "it": "SPALLA, SPALLE, CLAVICOLA, SCAPOLA",
        "pt": "OMBRO, OMBROS, CLAVICULA, ESCAPULA",
        "nl": "SCHOUDER, SCHOUDERS, SLEUTELBEEN, SCHOUDERBLAD",
        "ms": "BAHU, KLAVIKEL",
    },
    Site.PELVIS: {
        "en": "PELVIS, PELVIC, HIP, HIPS, HIP JOINT, SACRUM, COCCYX, ACETABULUM, FEMORAL NECK, NECK OF FEMUR, "
        "FEMUR NECK, FEMORAL HEAD, HEAD OF FEMUR, SACROILIAC",
        "de": "BECKEN, BECKENUBERSICHT, BECKENUEBERSICHT, HUFTE, HUEFTE, HUFTGELENK, HUEFTGELENK, KREUZBEIN, "
        "STEISSBEIN, SCHENKELHALS, HUFTKOPF, HUEFTKOPF",
        "fr": "BASSIN, HANCHE, HANCHES, COL DU FEMUR, COL FEMORAL, TETE FEMORALE",
        "es": "CADERA, CADERAS, CUELLO DEL FEMUR, CUELLO FEMORAL, CABEZA DEL FEMUR, CABEZA FEMORAL, SACRO",
        "it": "BACINO, ANCA, ANCHE, COLLO DEL FEMORE, COLLO FEMORALE, TESTA DEL FEMORE, TESTA FEMORALE, SACRO",
        "pt": "BACIA, QUADRIL, QUADRIS, ANCA, COLO DO FEMUR, CABECA DO FEMUR, SACRO",
        "nl": "BEKKEN, HEUP, HEUPEN, HEUPGEWRICHT, FEMURHALS, HEILIGBEEN",
        "ms": "PINGGUL, PANGGUL",
    },
    Site.SPINE: {
        "en": "SPINE, SPINAL, VERTEBRA, VERTEBRAE, CERVICAL, LUMBAR, THORACIC SPINE, DORSAL SPINE, CSPINE, TSPINE, "
        "LSPINE, TLSPINE, LSSPINE, SSPINE, LUMBOSACRAL",
        "de": "WIRBELSAULE, WIRBELSAEULE, WIRBEL, HWS, BWS, LWS",
        "fr": "RACHIS, COLONNE, VERTEBRE, VERTEBRES",
        "es": "COLUMNA, VERTEBRA, VERTEBRAS",
        "it": "COLONNA, RACHIDE, VERTEBRA, VERTEBRE",
        "pt": "COLUNA, VERTEBRA, VERTEBRAS",
        "nl": "WERVELKOLOM, WERVEL, CWK, TWK, LWK",
        "ms": "TULANG BELAKANG, SPINA",
    },
    Site.ELBOW: {
        "en": "ELBOW, ELBOWS, OLECRANON, RADIAL HEAD, RADIUS HEAD, HEAD OF RADIUS",
        "de": "ELLENBOGEN, ELLBOGEN, OLEKRANON, RADIUSKOPFCHEN, RADIUSKOEPFCHEN, RADIUSKOPF",
        "fr": "COUDE, COUDES, OLECRANE, TETE RADIALE",
        "es": "CODO, CODOS, CABEZA RADIAL, CABEZA DEL RADIO",
        "it": "GOMITO, GOMITI, CAPITELLO RADIALE",
        "pt": "COTOVELO, CABECA DO RADIO",
        "nl": "ELLEBOOG, ELLEBOGEN, RADIUSKOPJE",
        "ms": "SIKU",
    },
    Site.FOREARM: {
        "en": "FOREARM, FOREARMS, RADIUS, ULNA, RADIUS ULNA, RAD ULNA",
        "de": "UNTERARM, UNTERARME, SPEICHE, ELLE",
        "fr": "AVANT BRAS, AVANTBRAS, CUBITUS",
        "es": "ANTEBRAZO, CUBITO, RADIO CUBITO",
        "it": "AVAMBRACCIO",
        "pt": "ANTEBRACO",
        "nl": "ONDERARM, ONDERARMEN",
        "ms": "LENGAN BAWAH",
    },
    Site.LOWER_LEG: {
        "en": "LOWER LEG, TIBIA, FIBULA, TIBFIB, TIB FIB, LEG, CALF, SHIN",
        "de": "UNTERSCHENKEL, SCHIENBEIN, WADENBEIN",
        "fr": "JAMBE, JAMBES, PERONE",
        "es": "PIERNA, PIERNAS, PERONE",
        "it": "GAMBA, GAMBE, PERONE",
        "pt": "PERNA, PERNAS, PERONIO",
        "nl": "ONDERBEEN, ONDERBENEN, SCHEENBEEN, KUITBEEN",
        "ms": "BETIS, TULANG KERING",
    },
    Site.FEMUR: {
        "en": "FEMUR, THIGH, FEMORA",
        "de": "OBERSCHENKEL",
        "fr": "CUISSE",
        "es": "MUSLO, FEMUR",
        "it": "FEMORE, COSCIA",
        "pt": "COXA",
        "nl": "BOVENBEEN, DIJBEEN",
        "ms": "PAHA",
    },
    Site.HUMERUS: {
        "en": "HUMERUS, UPPER ARM, HUMERAL",
        "de": "OBERARM, OBERARME",
        "fr": "HUMERUS",
        "es": "HUMERO, BRAZO",
        "it": "OMERO, BRACCIO",
        "pt": "UMERO, HUMERO, BRACO",
        "nl": "BOVENARM, OPPERARM",
        "ms": "LENGAN ATAS",
    },
    Site.HAND: {
        "en": "HAND, HANDS, FINGER, FINGERS, THUMB, METACARPAL, METACARPALS, PHALANX, PHALANGES",
        "de": "HANDE, HAENDE, DAUMEN, MITTELHAND",
        "fr": "MAIN, MAINS, DOIGT, DOIGTS, POUCE, METACARPE",
        "es": "MANO, MANOS, DEDO, PULGAR, METACARPIANO",
        "it": "MANO, MANI, DITO, POLLICE, METACARPO",
        "pt": "MAO, MAOS, DEDO DA MAO, POLEGAR",
        "nl": "HAND, HANDEN, VINGER, VINGERS, DUIM",
        "ms": "TANGAN, JARI, IBU JARI",
    },
    Site.FOOT: {
        "en": "FOOT, FEET, TOE, TOES, HALLUX, HEEL, CALCANEUS, OS CALCIS, METATARSAL, METATARSALS, TARSUS, MIDFOOT, "
        "FOREFOOT",
        "de": "FUSS, FUSSE, FUESSE, VORFUSS, MITTELFUSS, RUCKFUSS, RUECKFUSS, ZEHE, ZEHEN, FERSE, FERSENBEIN",
        "fr": "PIED, PIEDS, ORTEIL, ORTEILS, TALON, CALCANEUM, AVANT PIED",
        "es": "PIE, PIES, DEDO DEL PIE, CALCANEO, TALON",
        "it": "PIEDE, PIEDI, ALLUCE, CALCAGNO",
        "pt": "PE, PES, DEDO DO PE, CALCANEO",
        "nl": "VOET, VOETEN, TEEN, TENEN, HIEL, HIELBEEN",
        "ms": "KAKI, JARI KAKI, TUMIT",
    },
    ELSEWHERE: {
        "en": "CHEST, THORAX, LUNG, LUNGS, HEART, ABDOMEN, KUB, SKULL, HEAD, FACIAL, ORBIT, ORBITS, SINUS, SINUSES, "
        "JAW, MANDIBLE, MAXILLA, NECK, TEETH, RIB, RIBS, STERNUM, BREAST, INTESTINE, WHOLEBODY, WHOLE BODY, NASAL, "
        "FACE STRUCTURE",
        "de": "BRUSTKORB, LUNGE, RIPPE, RIPPEN, SCHADEL, SCHAEDEL, BAUCH, GESICHT, KIEFER, UNTERKIEFER, HALS, KOPF, "
        "NASENBEIN",
        "fr": "POUMON, POUMONS, COTES, CRANE, GRIL COSTAL, MACHOIRE, COU, TETE",
        "es": "TORAX, PULMON, COSTILLA, COSTILLAS, CRANEO, CUELLO, CABEZA",
        "it": "TORACE, POLMONE, COSTE, CRANIO, ADDOME, COLLO, TESTA",
        "pt": "PULMAO, COSTELA, COSTELAS, CRANIO, PESCOCO, CABECA",
        "nl": "BORSTKAS, LONGEN, RIB, RIBBEN, SCHEDEL, BUIK, HOOFD",
        "ms": "DADA, PARU PARU, TENGKORAK, TULANG RUSUK, PERUT, KEPALA",
    },
}

CODES: Final[dict[str, Site | str]] = {
    "70258002": Site.ANKLE,
    "344001": Site.ANKLE,
    "74670003": Site.WRIST,
    "8205005": Site.WRIST,
    "72696002": Site.KNEE,
    "49076000": Site.KNEE,
    "64234005": Site.KNEE,
    "16982005": Site.SHOULDER,
    "85856004": Site.SHOULDER,
    "51299004": Site.SHOULDER,
    "79601000": Site.SHOULDER,
    "816092008": Site.PELVIS,
    "12921003": Site.PELVIS,
    "29836001": Site.PELVIS,
    "24136001": Site.PELVIS,
    "54735007": Site.PELVIS,
    "64688005": Site.PELVIS,
    "421060004": Site.SPINE,
    "122494005": Site.SPINE,
    "122495006": Site.SPINE,
    "122496007": Site.SPINE,
    "1217253001": Site.SPINE,
    "1217256009": Site.SPINE,
    "1217257000": Site.SPINE,
    "1217254007": Site.SPINE,
    "16953009": Site.ELBOW,
    "127949000": Site.ELBOW,
    "14975008": Site.FOREARM,
    "62413002": Site.FOREARM,
    "23416004": Site.FOREARM,
    "30021000": Site.LOWER_LEG,
    "12611008": Site.LOWER_LEG,
    "87342007": Site.LOWER_LEG,
    "71341001": Site.FEMUR,
    "68367000": Site.FEMUR,
    "85050009": Site.HUMERUS,
    "40983000": Site.HUMERUS,
    "85562004": Site.HAND,
    "7569003": Site.HAND,
    "76505004": Site.HAND,
    "56459004": Site.FOOT,
    "29707007": Site.FOOT,
    "80144004": Site.FOOT,
    "58742003": Site.FOOT,
    "816094009": ELSEWHERE,
    "818981001": ELSEWHERE,
    "818982008": ELSEWHERE,
    "416550000": ELSEWHERE,
    "416775004": ELSEWHERE,
    "89546000": ELSEWHERE,
    "89545001": ELSEWHERE,
    "69536005": ELSEWHERE,
    "774007": ELSEWHERE,
    "45048000": ELSEWHERE,
    "113197003": ELSEWHERE,
}
"""SNOMED CT code values of anatomic regions (DICOM PS3.16 CID 4, CID 4031) and their site."""

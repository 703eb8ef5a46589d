"""The languages of the outputs, with a catalogue of translations each."""

from .catalogue import Catalogue as Catalogue
from .catalogue import read_catalogue as read_catalogue
from .language import ENGLISH as ENGLISH
from .language import LANGUAGES as LANGUAGES
from .language import Language as Language
from .language import LanguageCode as LanguageCode
from .language import language as language

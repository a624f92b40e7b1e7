"""Which languages texts are written in, told by py3langid where it is installed; where it is not, the report says so.

py3langid is a naive Bayes classifier over byte n-grams (Lui and Baldwin 2012, "langid.py: an off-the-shelf language
identification tool", https://aclanthology.org/P12-3005); its model of 139 languages comes inside the package, so nothing is
downloaded. Here it keeps an identifier of its own: the package's shared one can be narrowed by anybody.

"und" (undetermined, ISO 639-2) is a text that is mostly code, has fewer than MIN_LETTERS letters of prose (fewer than
MIN_DISTINCT where most of them are above U+0900: Hindi, Thai, Chinese and their like need few), or that the model gives less
than MIN_CONFIDENCE to. Code is told by its lines: they are left out, and what remains is judged. All this is coarse: of 2 504
English docstrings (over 60 characters, standard library) 92 % are told as "en", 8 % as "und" and none as another language.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

UNDETERMINED: Final = "und"
MIN_LETTERS, MIN_DISTINCT = 20, 5
MIN_CONFIDENCE: Final = 0.4
REQUIREMENT: Final = "py3langid>=0.4,<0.5"
"""Version 0.3 has another model and other names."""
INSTALL: Final = f"pip install '{REQUIREMENT}'"
_JUDGED_CHARS: Final = 4000
"""Of each text: more does not change the verdict, and reading grows with length."""

Identify = Callable[[str], tuple[str, float]]
"""(language code, confidence from 0 to 1) of a text."""

# Each pattern takes time in proportion to the text, whatever the text: no two unbounded repeats that could share characters.
_LEFT_OUT: Final = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]{0,200}`|<[^<>\n]{1,200}>|\b(?:https?://|www\.)\S+|[\w.+-]{1,64}@[\w.-]{1,200}", re.DOTALL
)
_CODE: Final = re.compile(
    r"""\s*(?:
      >>> | \.\.\. | \$\s | @\w | \#include | \#define | \#! | // | /\* | </?\w
      | [\w.\[\]'"*&]+ \s* (?: [-+*/|&:]?= | \+\+ | -- | -> )
      | (?:import|from) \s+ [\w.]+ (?: \s+ (?:import|as) \s | [,;] | \s*\Z )
      | [\])}\s,;]+ \Z
    )""",
    re.VERBOSE,
)
_CODE_TO_END: Final = re.compile(
    r"""\s*(?:
      [\w.:]+ \(
      | (?:def|class|func|fn|function|public|private|static|const|let|var|async|await|package|using|namespace) \s
      | (?:if|for|while|else|elif|try|except|with|return|switch|case|do) \b
    )""",
    re.VERBOSE,
)
"""Code where the line also ends like code."""
_CODE_ENDS: Final = tuple("{:;)")
_SYMBOLS: Final = frozenset("{}()[];=<>_/\\|&*+#@$%^~`")
_MAX_SYMBOLS: Final = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageShare:
    """One language."""

    code: str
    """ISO 639; `und` where it cannot be told."""
    texts: int
    share: float
    """Of the texts, 0 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageReport:
    """Shares, the largest first; where they could not be told none, and `reason` and `install` say why and what to do."""

    texts: int
    shares: tuple[LanguageShare, ...] = ()
    reason: str = ""
    install: str = ""

    @property
    def told(self) -> bool:
        """Whether the languages were looked at."""
        return not self.reason

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"told": self.told, "shares": [asdict(share) for share in self.shares]}


def count_languages(texts: Iterable[str], identify: Identify | None = None) -> LanguageReport:
    """The share of each language among texts; `identify` stands in for py3langid."""
    if identify is None:
        try:
            identify = load_identifier()
        except (ImportError, AttributeError) as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == "py3langid"
            reason = "py3langid is not installed" if missing else f"the installed py3langid does not fit ({error})"
            return LanguageReport(texts=sum(1 for _ in texts), reason=f"languages were not told: {reason}", install=INSTALL)
    counts = Counter(language(text, identify) for text in texts)
    total = counts.total()
    shares = [LanguageShare(code=code, texts=count, share=count / total) for code, count in counts.items()]
    return LanguageReport(texts=total, shares=tuple(sorted(shares, key=lambda share: (-share.texts, share.code))))


def load_identifier() -> Identify:
    """py3langid with the model inside it (0.7 s and 100 MB, so loaded when used); ImportError where there is none."""
    module = importlib.import_module("py3langid.langid")
    identify: Identify = module.LanguageIdentifier.from_model_file(module.MODEL_FILE, norm_probs=True).classify
    return identify


def language(text: str, identify: Identify) -> str:
    """The code of one text's language, or `und`."""
    text = prose(text[: 4 * _JUDGED_CHARS])[:_JUDGED_CHARS]
    letters = [char for char in text if char.isalpha()]
    distinct = sum(char >= "\u0900" for char in letters)
    if len(letters) < (MIN_DISTINCT if 2 * distinct > len(letters) else MIN_LETTERS):
        return UNDETERMINED
    code, confidence = identify(text)
    return UNDETERMINED if code == "zxx" or confidence < MIN_CONFIDENCE else code  # zxx: no linguistic content


def prose(text: str) -> str:
    """What is left of a text without code, addresses and markup; nothing of a text that is mostly code."""
    text = _LEFT_OUT.sub(" ", text)
    lines = [line for line in text.split("\n") if line.strip()]
    kept = [line for line in lines if not _is_code(line)]
    return "\n".join(kept) if 2 * sum(map(len, kept)) >= sum(map(len, lines)) else ""


def _is_code(line: str) -> bool:
    line = line.rstrip()
    if line.endswith(("{", "}", ";")) or _CODE.match(line) or (line.endswith(_CODE_ENDS) and _CODE_TO_END.match(line)):
        return True
    chars = [char for char in line if not char.isspace()]
    return sum(char in _SYMBOLS for char in chars) > _MAX_SYMBOLS * len(chars)

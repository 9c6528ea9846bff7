"""Names, codes, amounts and dates for the tiny model's training texts, composed at random.

Whatever a model should copy is made of syllables, so that there is no end of it; one in eight of
the made words, by a hash of the word, is kept for evaluation and never occurs in training.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, TypeAlias
from zlib import crc32

Json: TypeAlias = Any
Schema: TypeAlias = dict[str, Any]

_STARTS = "B Br C Cl D Dr F Fl G Gr H J K Kl L M N P Pr R S Sh St T Tr V W Z A E I O U".split()
_MIDDLES = "a e i o u ai ea ie ou an en in on ar er ir or al el il ol".split()
_JOINTS = "b d f g k l m n p r s t v z nd rt lm st ll ss nt sh th ck".split()
_ENDS = "a o e i en an in er or el is us on ey ra na la to ka".split()
_FIRST = (
    "Anna Ben Carla David Emma Felix Grace Henry Ida Jonas Kate Liam Maria Noah Olivia Paul Rosa "
    "Sam Tina Uma Victor Wendy Yusuf Zoe Peter Laura Ahmed Mei Priya Omar"
).split()
_LAST = (
    "Smith Jones Garcia Schmidt Rossi Kim Patel Silva Novak Meyer Brown Davis Evans Fischer Lopez "
    "Martin Wilson Young Chen Khan Miller Weber Moore Clark"
).split()
_CITIES = (
    "Berlin Paris London Madrid Rome Vienna Oslo Lisbon Dublin Boston Chicago Tokyo Delhi Cairo "
    "Toronto Sydney Munich Hamburg Seattle Austin"
).split()
_ADJECTIVES = (
    "red blue green black white small large wooden steel glass cotton leather silver folding light "
    "heavy round square soft warm electric mini classic modern organic"
).split()
_NOUNS = (
    "chair lamp kettle mug table pen notebook bag shirt jacket scarf bottle clock phone charger "
    "cable mouse keyboard speaker camera blender toaster pillow blanket towel brush basket shelf "
    "mirror candle helmet bike tent knife bowl plate pan fan heater printer desk backpack"
).split()
_MONTHS = (
    "January February March April May June July August September October November December"
).split()


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A value and how a text says it.

    Attributes:
        text: the words of the text.
        value: the value of the answer.
        schema: the value's JSON Schema.
    """

    text: str
    value: Json
    schema: Schema = field(default_factory=lambda: {"type": "string"})


Maker: TypeAlias = "Callable[[Words], Said]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """Makes random words.

    Attributes:
        rng: where all chance comes from.
        held_out: True makes only words kept for evaluation, False never one of them.
    """

    rng: random.Random
    held_out: bool = False

    def kept(self, make: Callable[[], str]) -> str:
        """What `make` gives, drawn again until it is of the right side of the split."""
        while (crc32((word := make()).encode()) % 8 == 0) != self.held_out:
            pass
        return word

    def pick(self, options: Sequence[str]) -> str:
        """One of some texts."""
        return self.rng.choice(options)

    def invented(self, syllables: tuple[int, int] = (1, 2)) -> str:
        """A capitalised word that nobody uses, of this many syllables and an ending."""
        count = self.rng.randint(*syllables)
        middle = "".join(self.pick(_MIDDLES) + self.pick(_JOINTS) for _ in range(count))
        return self.pick(_STARTS) + middle + self.pick(_ENDS)

    def real_or_invented(self, real: Sequence[str]) -> str:
        """In training now and then a real name; in evaluation none."""
        if not self.held_out and self.rng.random() < 0.25:
            return self.pick(real)
        return self.kept(self.invented)

    def person(self) -> str:
        """A first name, mostly with a last name."""
        first = self.real_or_invented(_FIRST)
        return f"{first} {self.real_or_invented(_LAST)}" if self.rng.random() < 0.7 else first

    def city(self) -> str:
        """A town."""
        return self.real_or_invented(_CITIES)

    def company(self) -> str:
        """A firm, of one or two words."""
        name = self.kept(self.invented)
        endings = ("", "", " Ltd", " GmbH", " Inc", " & Co", " Foods", " Labs", " Group")
        return name + self.pick(endings)

    def product(self) -> str:
        """A thing that shops sell."""
        return self.kept(lambda: f"{self.pick(_ADJECTIVES)} {self.pick(_NOUNS)}")

    def street(self) -> str:
        """A street with a house number."""
        kind = self.pick(("Street", "Road", "Lane", "Avenue", "Way"))
        return f"{self.rng.randint(1, 240)} {self.kept(self.invented)} {kind}"

    def code(self) -> str:
        """An order number, a reference or the like."""
        letters = "".join(
            self.pick("ABCDEFGHKLMNPQRSTUVWXYZ") for _ in range(self.rng.choice((2, 3)))
        )
        digits = "".join(self.pick("0123456789") for _ in range(self.rng.randint(3, 5)))
        return self.pick((f"{letters}-{digits}", f"{letters}{digits}", f"#{digits}", digits))

    def email(self) -> str:
        """An email address."""
        name = self.kept(self.invented).lower()
        host = self.pick(("mail", "post", "web", "home", self.invented((1, 1)).lower()))
        return f"{name}{self.pick(('', '.' + self.pick('abcdeklmrst')))}@{host}.{self.pick(('com', 'org', 'net'))}"


def text_of(make: Callable[[Words], str], /, **keywords: Json) -> Maker:
    """A maker of strings whose value is the text itself, with keywords for the schema."""

    def made(words: Words) -> Said:
        text = make(words)
        return Said(text=text, value=text, schema={"type": "string", **keywords})

    return made


def whole(low: int, high: int) -> Maker:
    """A maker of whole numbers."""

    def made(words: Words) -> Said:
        value = words.rng.randint(low, high)
        schema: Schema = {"type": "integer"}
        if words.rng.random() < 0.1:
            schema |= {"minimum": 0, "maximum": 10 ** len(str(high))}
        return Said(text=str(value), value=value, schema=schema)

    return made


def amount(high: int, *, step: float = 0.01) -> Maker:
    """A maker of amounts of money, or of other numbers with a fraction."""

    def made(words: Words) -> Said:
        value = round(words.rng.randint(1, round(high / step)) * step, 2)
        text = f"{value:.2f}" if step == 0.01 else str(value)
        return Said(text=text, value=value, schema={"type": "number"})

    return made


def day(words: Words) -> Said:
    """A date between 2015 and 2032, written in one of five ways."""
    chosen = date(2015, 1, 1) + timedelta(days=words.rng.randrange(6500))
    month = _MONTHS[chosen.month - 1]
    text = words.pick(
        (
            chosen.isoformat(),
            f"{chosen.day} {month} {chosen.year}",
            f"{month} {chosen.day}, {chosen.year}",
            f"{chosen.day:02}.{chosen.month:02}.{chosen.year}",
            f"{chosen.day} {month[:3]} {chosen.year}",
        )
    )
    return Said(text=text, value=chosen.isoformat(), schema={"type": "string", "format": "date"})


def clock(words: Words) -> Said:
    """A time of the day."""
    text = f"{words.rng.randint(7, 22):02}:{words.rng.choice((0, 15, 30, 45)):02}"
    return Said(text=text, value=f"{text}:00", schema={"type": "string", "format": "time"})


def choice(said: dict[Json, Sequence[str]]) -> Maker:
    """A maker of one of some values, each with the ways to say it; booleans make no enumeration."""
    values = list(said)

    def made(words: Words) -> Said:
        value = words.rng.choice(values)
        shown = words.rng.sample(values, len(values))
        if len(shown) > 2 and words.rng.random() < 0.3:
            shown.remove(words.rng.choice([other for other in values if other != value]))
        yes_or_no = isinstance(value, bool)
        schema: Schema = {"type": "boolean"} if yes_or_no else {"enum": shown, "type": "string"}
        return Said(text=words.pick(said[value]), value=value, schema=schema)

    return made


def several(make: Callable[[Words], str], *, most: int = 4) -> Maker:
    """A maker of lists of strings: `a, b and c`."""

    def made(words: Words) -> Said:
        values = list(dict.fromkeys(make(words) for _ in range(words.rng.randint(1, most))))
        return Said(
            text=joined(values), value=values, schema={"type": "array", "items": {"type": "string"}}
        )

    return made


def joined(texts: Sequence[str]) -> str:
    """Texts as an enumeration in a sentence."""
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))

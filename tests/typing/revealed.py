"""Read by type checkers, not run: the comments say what each call is revealed to be.

An ignored error that is none is an error itself, in both checkers.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict, reveal_type

from pydantic import BaseModel

from typedllm import LLM, Choice, JsonSchema, Lark, Regex, Sampling, schema


class Person(BaseModel):
    name: str


@dataclass
class Point:
    x: int


class Row(TypedDict):
    a: int


llm = LLM("scripted")

reveal_type(llm.call("x"))  # is: str
reveal_type(llm.call("x", str))  # is: str
reveal_type(llm.call("x", Person))  # is: Person
reveal_type(llm.call("x", Point))  # is: Point
reveal_type(llm.call("x", Row))  # is: Row
reveal_type(llm.call("x", Literal["a", "b"]))  # is: Literal['a', 'b']
reveal_type(llm.call("x", int | None))  # is: int | None
reveal_type(llm.call("x", list[int]))  # is: list[int]
reveal_type(llm.call("x", {"age": "int"}))  # is: dict[str, Any]
reveal_type(llm.call("x", {"tags": ["a", "b"]}))  # is: dict[str, Any]
reveal_type(llm.call("x", ["red", "green"]))  # is: Any
reveal_type(llm.call("x", schema("person")))  # is: Any
reveal_type(llm.call("x", JsonSchema({"type": "string"})))  # is: Any
reveal_type(llm.call("x", Regex("a+")))  # is: str
reveal_type(llm.call("x", Choice(["a"])))  # is: str
reveal_type(llm.call("x", Lark("start: /a/")))  # is: str
reveal_type(llm.call("x", int, sampling=Sampling(), system="s", timeout_s=3))  # is: int

reveal_type(llm.run("x", Person))  # is: Result[Person]
reveal_type(llm.run("x", {"age": "int"}).unwrap())  # is: dict[str, Any]
reveal_type(llm.run("x", int | None).value)  # is: int | None
reveal_type(llm.batch(["x"], Person))  # is: Results[Person]
reveal_type(llm.batch(["x"], int, ids=["a"], progress=True).values())  # is: list[int | None]
reveal_type(llm.batch(["x"])[0].unwrap())  # is: str
reveal_type(next(llm.iter_batch(["x"], Literal["a"])).unwrap())  # is: Literal['a']


async def main() -> None:
    reveal_type(await llm.acall("x", Person))  # is: Person
    reveal_type(await llm.acall("x", {"age": "int"}))  # is: dict[str, Any]
    reveal_type(await llm.arun("x"))  # is: Result[str]
    reveal_type(await llm.abatch(["x"], list[int]))  # is: Results[list[int]]
    async for result in llm.aiter_batch(["x"], int | str):
        reveal_type(result.unwrap())  # is: int | str


llm.call("x", int, temperature=1)  # type: ignore
llm.call(3)  # type: ignore
llm.run("x", ids=["a"])  # type: ignore


@llm.function
def age_of(text: str, *, unit: str = "years") -> int:
    """How old in {{ unit }}: {{ text }}"""
    raise NotImplementedError


@llm.function(template="{{ x }}", system="Be brief.")
async def person_of(x: int) -> Person:
    raise NotImplementedError


class Desk:
    @llm.function
    def mood(self, text: str) -> Literal["a", "b"]:
        """{{ text }}"""
        raise NotImplementedError


reveal_type(age_of("x", unit="days"))  # is: int
reveal_type(age_of.run("x"))  # is: Result[int]
reveal_type(age_of.batch(["x"]))  # is: Results[int]
reveal_type(Desk().mood("x"))  # is: Literal['a', 'b']
reveal_type(Desk().mood.run("x").value)  # is: Literal['a', 'b'] | None
age_of(3)  # type: ignore[arg-type]
age_of("x", unit=3)  # type: ignore[arg-type]
age_of()  # type: ignore[call-arg]
Desk().mood(3)  # type: ignore[arg-type]


async def functions() -> None:
    reveal_type(await person_of(3))  # is: Person
    reveal_type(await person_of.arun(3))  # is: Result[Person]
    reveal_type(await age_of.arun("x"))  # is: Result[int]
    reveal_type(await llm.chat().acall("x", Person))  # is: Person


chat = llm.chat(system="s", history_tokens=100)
reveal_type(chat.call("x"))  # is: str
reveal_type(chat.call("x", Person))  # is: Person
reveal_type(chat.run("x", {"age": "int"}, context={"a": 1}).unwrap())  # is: dict[str, Any]
reveal_type(llm.render("x", Person).tokens)  # is: int | None

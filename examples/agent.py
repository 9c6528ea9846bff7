"""A model chooses tools, and the tools really run. python agent.py [GOAL]"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from typedllm import LLM

SHOP = {"lamp": (39.0, 12), "chair": (85.5, 4), "table": (240.0, 0)}  # price in EUR, pieces


class Stock(BaseModel):
    tool: Literal["stock"]
    item: Literal["lamp", "chair", "table"]

    def run(self) -> str:
        return f"There are {SHOP[self.item][1]} pieces of the {self.item}."


class Price(BaseModel):
    tool: Literal["price"]
    item: Literal["lamp", "chair", "table"]
    quantity: int = Field(ge=1, le=9)

    def run(self) -> str:
        return f"{self.quantity} of the {self.item}: {SHOP[self.item][0] * self.quantity:.2f} EUR."


class Finish(BaseModel):
    tool: Literal["finish"]
    total: float = Field(ge=0)


# Whatever the model writes is one of these, with arguments that fit.
Action = Annotated[Stock | Price | Finish, Field(discriminator="tool")]
ACTIONS = {"stock": "of an item", "price": "of some pieces", "finish": "with the total in EUR"}


def main(goal: str) -> None:
    seen: list[str] = []  # what the tools said; each choice is made with all of it
    asked = {"goal": goal, "actions": ACTIONS, "observations": seen}
    print(goal)
    with LLM() as llm:  # the packaged model does not plan; a larger one does, in this same loop
        for _ in range(3):
            action = llm.call(asked, Action, template="agent")
            if isinstance(action, Finish):
                break
            seen.append(action.run())
            print(f"  {action!r}\n  {seen[-1]}")
        else:  # enough: now nothing else is on offer
            action = llm.call(asked, Finish, template="agent")
    print(repr(action))


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Please order 2 chairs, and tell me the total.")

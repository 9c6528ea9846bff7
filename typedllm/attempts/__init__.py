"""The attempt policy: what to send, when to send it again, and what comes of it.

`attempts` is a generator that does no I/O and never sleeps: it yields what to send, is sent the
reply, and returns the result. `drive` waits and sends. The shape is that of httpx's `auth_flow`.
"""

from typedllm.attempts.budget import Budget, Spending
from typedllm.attempts.drive import Listen, drive, pausing
from typedllm.attempts.flow import attempts
from typedllm.attempts.parts import TOOK
from typedllm.attempts.scores import classified
from typedllm.attempts.task import Policy, Send, Task

__all__ = [
    "TOOK",
    "Budget",
    "Listen",
    "Policy",
    "Send",
    "Spending",
    "Task",
    "attempts",
    "classified",
    "drive",
    "pausing",
]

"""The way of the one path that is asked all day: past what a framework does to find out who answers."""

from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ml.errors import MlError
from ml.serving import API_KEY_HEADER
from ml.serving.bodies import Refused, json_response

Check = Callable[[Request, str | None], None]
Answer = Callable[[Request], Awaitable[Response]]
Refuse = Callable[[Request, Exception], Awaitable[Response]]


class ShortWay:
    """Answers ``POST`` of one path as the route of the same path would, which only describes it then.

    Finding the route, its dependencies and its parameters takes FastAPI longer than scoring a row.
    """

    def __init__(self, app: ASGIApp, path: str, answer: Answer, refuse: Refuse, check: Check | None) -> None:
        """Stand before the application; ``check`` raises for a request whose key is none of ours."""
        self.app, self.path = app, path
        self._answer, self._refuse, self._check = answer, refuse, check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            if self._check:
                self._check(request, request.headers.get(API_KEY_HEADER))
            response = await self._answer(request)
        except HTTPException as error:
            response = json_response({"detail": error.detail}, error.status_code)
        except (Refused, MlError) as error:
            response = await self._refuse(request, error)
        await response(scope, receive, send)

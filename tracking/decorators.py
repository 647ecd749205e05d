"""A door of one view: `@limited("name")`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tracking import guard, refusal

View = TypeVar("View", bound=Callable[..., Any])


def limited(name: str) -> Callable[[View], View]:
    """Count each call of a view by the limit `name`, and answer 429 in its place above its rates.

    For views that are functions, sync or async; for those that are classes, with Django's
    `method_decorator` on `dispatch` or on a handler. A name that is not in the table of limits
    raises KeyError when the view is called.
    """

    def decorate(view: View) -> View:
        async def answered_later(
            request: HttpRequest, *arguments: Any, **named: Any
        ) -> HttpResponseBase:
            verdict = await guard.limit_each_async(request, (name,))
            if verdict.refused:
                return refusal.told(request, refusal.answer(request, verdict))
            return refusal.told(request, await view(request, *arguments, **named))

        def answered(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponseBase:
            verdict = guard.limit(request, name)
            if verdict.refused:
                return refusal.told(request, refusal.answer(request, verdict))
            return refusal.told(request, view(request, *arguments, **named))

        return cast("View", wraps(view)(answered_later if _is_async(view) else answered))

    return decorate


def _is_async(view: Callable[..., Any]) -> bool:
    """Tell whether a view must be awaited.

    `dispatch` is an ordinary function that answers as the handlers of its class do;
    `method_decorator` hands it over bound to its object, inside a partial.
    """
    owner = getattr(getattr(view, "func", view), "__self__", None)
    return iscoroutinefunction(view) or bool(getattr(owner, "view_is_async", False))

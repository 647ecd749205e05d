"""A small site to be visited: its URLs answer in every way a view can."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib import admin
from django.contrib.auth import login, logout
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from users.models import User


def status(request: HttpRequest, code: int) -> HttpResponse:
    return HttpResponse(str(code), status=code)


def bug(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("hunter2")


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    return StreamingHttpResponse(parts())


async def asynchronous(request: HttpRequest) -> HttpResponse:
    return HttpResponse("async")


def whoami(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user} {request.scheme}")


def enter(request: HttpRequest) -> HttpResponse:
    login(request, User.objects.get(), backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("in")


def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


urlpatterns = [
    path("status/<int:code>/", status),
    path("bug/", bug),
    path("forbidden/", forbidden),
    path("missing/", missing),
    path("stream/", stream),
    path("async/", asynchronous),
    path("whoami/", whoami),
    path("enter/", enter),
    path("leave/", leave),
    path("admin/", admin.site.urls),
]

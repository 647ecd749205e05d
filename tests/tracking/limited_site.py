"""A small site with limits: by path, on views, and at its doors to log in."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import aauthenticate, authenticate, login, logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from tracking import guard
from tracking.decorators import limited
from users.models import User


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("public")


async def plain_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("public")


def me(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


async def me_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await request.auser()))


async def me_lazily_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user.is_authenticated}")


def remember(request: HttpRequest) -> HttpResponse:
    request.session["seen"] = request.session.get("seen", 0) + 1
    return HttpResponse(str(request.session["seen"]))


def enter(request: HttpRequest) -> HttpResponse:
    login(request, User.objects.get(username="bob"), "django.contrib.auth.backends.ModelBackend")
    return HttpResponse(str(request.user))


def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse(str(request.user))


@csrf_exempt
def attempt(request: HttpRequest) -> HttpResponse:
    """Try every password that is sent, one after the other, as aliases in one request do."""
    found = [
        authenticate(request, username=request.POST["username"], password=password)
        for password in request.POST.getlist("password")
    ]
    return HttpResponse(" ".join(str(user) for user in found))


@csrf_exempt
async def attempt_async(request: HttpRequest) -> HttpResponse:
    password = request.POST["password"]
    user = await aauthenticate(request, username=request.POST["username"], password=password)
    return HttpResponse(str(user))


@csrf_exempt
def attempt_and_tell(request: HttpRequest) -> HttpResponse:
    authenticate(request, username="ada", password="guess")
    verdict = guard.take_login_verdict(request)
    return HttpResponse(f"{verdict.limit} {verdict.retry_after > 0}")


@csrf_exempt
@limited("reports")
def report(request: HttpRequest, number: int = 0) -> HttpResponse:
    """What is reported."""
    return HttpResponse(str(number))


@limited("reports")
async def report_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("report")


@method_decorator(limited("reports"), name="dispatch")
class Report(View):
    def get(self, request: HttpRequest, **_: Any) -> HttpResponse:
        return HttpResponse("report")


@method_decorator(limited("reports"), name="dispatch")
class AsyncReport(View):
    async def get(self, request: HttpRequest, **_: Any) -> HttpResponse:
        return HttpResponse("report")


class AsyncHandler(View):
    @method_decorator(limited("reports"))
    async def get(self, request: HttpRequest, **_: Any) -> HttpResponse:
        return HttpResponse("report")


urlpatterns = [
    path("api/plain/", plain),
    path("api/plain-async/", plain_async),
    path("api/me/", me),
    path("api/me-async/", me_async),
    path("api/me-lazily-async/", me_lazily_async),
    path("api/mine/", login_required(me)),
    path("api/remember/", remember),
    path("api/enter/", enter),
    path("api/leave/", leave),
    path("free/", plain),
    path("report/<int:number>/", report),
    path("report/async/", report_async),
    path("report/class/", Report.as_view()),
    path("report/class-async/", AsyncReport.as_view()),
    path("report/handler-async/", AsyncHandler.as_view()),
    path("report/wrapped-async/", limited("reports")(AsyncHandler.as_view())),
    path("attempt/", attempt),
    path("attempt-async/", attempt_async),
    path("attempt-and-tell/", attempt_and_tell),
    path("unknown/", limited("nowhere")(plain)),
    path("graphql/", include("schema.urls")),
    path("admin/", admin.site.urls),
]

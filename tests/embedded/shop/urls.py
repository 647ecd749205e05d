"""Views of both kinds, with and without a limit."""

import sys

from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from tracking.decorators import limited


def catalogue(request: HttpRequest) -> HttpResponse:
    return HttpResponse("catalogue")


async def news(request: HttpRequest) -> HttpResponse:
    return HttpResponse("news")


@limited("orders")
def order(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ordered")


@limited("orders")
async def order_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ordered")


@csrf_exempt
def enter(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.POST["name"], password=request.POST["password"])
    return HttpResponse("in" if user else "no", status=200 if user else 403)


def modules(request: HttpRequest) -> HttpResponse:
    """What the server has imported by now."""
    return JsonResponse(sorted({name.partition(".")[0] for name in sys.modules}), safe=False)


urlpatterns = [
    path("catalogue/", catalogue),
    path("news/", news),
    path("order/", order),
    path("order-async/", order_async),
    path("api/", catalogue),
    path("enter/", enter),
    path("modules/", modules),
]

"""Where each door of the service is."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("graphql/", include("schema.urls")),
    path("admin/", admin.site.urls),
]

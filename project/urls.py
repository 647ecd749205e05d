"""Where each door of the service is."""

from django.contrib import admin
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "ALX Backend Security"
admin.site.site_url = "/graphql/"  # "View site": nothing stands at /

urlpatterns = [
    path("graphql/", include("schema.urls")),
    path("admin/", admin.site.urls),
]

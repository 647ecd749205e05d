"""Where each door of the service is."""

from django.contrib import admin
from django.urls import include, path, re_path

from project import failures
from schema.exportdoor import export
from users import rest

admin.site.site_header = admin.site.site_title = "ALX Backend Security"
admin.site.site_url = "/graphql/"  # "View site": nothing stands at /

urlpatterns = [
    path("graphql/", include("schema.urls")),
    # With or without the slash: a POST that is sent on to another URL loses its body.
    re_path(r"^api/signup/?\Z", rest.signup),
    re_path(r"^api/login/?\Z", rest.login),
    re_path(r"^api/refresh/?\Z", rest.refreshed),
    re_path(r"^api/logout/?\Z", rest.logout),
    re_path(r"^api/export/?\Z", export, name="export_logs"),
    path("admin/", admin.site.urls),
]

handler500 = failures.answer

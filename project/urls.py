"""Where each door of the service is."""

from django.contrib import admin
from django.urls import include, path

from users import rest

admin.site.site_header = admin.site.site_title = "ALX Backend Security"
admin.site.site_url = "/graphql/"  # "View site": nothing stands at /

urlpatterns = [
    path("graphql/", include("schema.urls")),
    path("api/signup/", rest.signup),
    path("api/login/", rest.login),
    path("api/refresh/", rest.refreshed),
    path("api/logout/", rest.logout),
    path("admin/", admin.site.urls),
]

"""Where each door of the service is."""

from django.contrib import admin
from django.urls import include, path, reverse_lazy

admin.site.site_header = admin.site.site_title = "ALX Backend Security"
admin.site.site_url = reverse_lazy("graphql")  # "View site": nothing stands at /

urlpatterns = [
    path("graphql/", include("schema.urls")),
    path("admin/", admin.site.urls),
]

"""Where the GraphQL endpoint is."""

from django.urls import path

from schema.view import graphql

urlpatterns = [path("", graphql, name="graphql")]

"""Where the GraphQL endpoint is."""

urlpatterns: list[object] = []

"""The log of alerts in Django's admin: what was told to whom, and the answers; only to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class DeliveryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("at", "event", "endpoint", "status", "attempts", "next_attempt_at", "answer")
    list_filter = ("status", "event")
    fields = readonly_fields = (
        *("event_id", "event", "at", "endpoint", "status", "attempts", "next_attempt_at"),
        *("last_answer", "finished_at", "body"),
    )
    ordering = ("-at", "-pk")
    sortable_by = ()
    show_full_result_count = False
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="last answer")
    def answer(self, row: Any) -> str:
        return str(row.last_answer)[:80]

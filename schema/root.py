"""The schema: fragments by noun, merged, and how it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import strawberry
from django.conf import settings
from django.http import HttpRequest
from graphql import DocumentNode, GraphQLError, GraphQLSchema
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.accounts import AccountMutations, AccountQueries
from schema.attempts import LoginAttemptQueries
from schema.audit import AuditQueries
from schema.authentication import AuthenticationMutations
from schema.blocking import BlockingMutations
from schema.detection import DetectionMutations, DetectionQueries
from schema.detectors import DetectorMutations, DetectorQueries
from schema.dossier import DossierQueries
from schema.errors import USER_ERRORS
from schema.explain import ExplainQueries
from schema.exports import ExportMutations
from schema.guards import GUARD_ERRORS
from schema.nodes import NodeQueries
from schema.privacy import PrivacyMutations
from schema.ratelimits import RateLimitMutations, RateLimitQueries
from schema.regions import RegionMutations
from schema.requests import RequestQueries
from schema.reviews import ReviewMutations
from schema.rules import RuleQueries
from schema.scalars import SCALARS
from schema.server import ServerQueries
from schema.sessions import SessionMutations, SessionQueries
from schema.simulation import SimulationMutations
from schema.stats import StatisticsQueries
from schema.suspicions import SuspicionQueries


@dataclass(frozen=True, slots=True)
class Context:
    """What resolvers find in `info.context`."""

    request: HttpRequest
    document: DocumentNode


class PreparedDocument(SchemaExtension):
    """Runs the document that the view has parsed, weighed and validated already."""

    def on_operation(self) -> Iterator[None]:
        execution = self.execution_context
        if isinstance(execution.context, Context):
            execution.graphql_document = execution.context.document
            execution.validation_rules = ()
        yield


class Schema(strawberry.Schema):
    """Strawberry's schema, without its log of every caller's mistake and whole document."""

    @property
    def core(self) -> GraphQLSchema:
        """The schema as graphql-core knows it, which validates documents."""
        return self._schema

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Log nothing: `schema.errors.readable` logs what was unexpected, once."""


@strawberry.type(description="What can be read.")
class Query(
    AccountQueries,
    SessionQueries,
    RequestQueries,
    StatisticsQueries,
    DossierQueries,
    RuleQueries,
    SuspicionQueries,
    DetectorQueries,
    DetectionQueries,
    ExplainQueries,
    LoginAttemptQueries,
    AuditQueries,
    RateLimitQueries,
    ServerQueries,
    NodeQueries,
):
    """Each noun brings its own fields."""


@strawberry.type(description="What can be changed.")
class Mutation(
    AuthenticationMutations,
    SessionMutations,
    AccountMutations,
    BlockingMutations,
    RegionMutations,
    ReviewMutations,
    DetectorMutations,
    DetectionMutations,
    SimulationMutations,
    RateLimitMutations,
    ExportMutations,
    PrivacyMutations,
):
    """Each noun brings its own fields."""


schema = Schema(
    query=Query,
    mutation=Mutation,
    types=(*USER_ERRORS, *GUARD_ERRORS),
    extensions=[PreparedDocument],
    config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=not settings.DEBUG),
)

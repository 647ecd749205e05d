"""Documents made ready to run: parsed, weighed and validated, once for each text.

Ready documents are kept, so that a front end's few queries cost nothing but their execution. What
is kept is bounded twice: CACHED_DOCUMENTS in number, and texts over CACHED_LENGTH are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.specified_rules import recommended_rules
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from schema.cost import Limits, limits, too_costly, weigh
from schema.errors import Code, Refusal
from schema.root import schema

CACHED_DOCUMENTS = 100
CACHED_LENGTH = 4_000  # characters
MOST_ERRORS = 10
MOST_NAMES = 20
LONGEST_NAME = 64
# How graphql-core says that it stopped reading at a limit.
SYNTAX_ERROR, ABORTED = "Syntax Error: ", " Parsing aborted."
RULES = (*specified_rules, *recommended_rules, MaybeNullValidationRule, OneOfInputValidationRule)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document, and what is wrong with it; without errors it is ready to run."""

    parsed: DocumentNode
    errors: tuple[GraphQLError, ...] = ()
    introspects: bool = False
    sized_by_variables: bool = False

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """Return the operation to run.

        Raises Refusal when there is none of that name, or several and no name.
        """
        operations = [
            definition
            for definition in self.parsed.definitions
            if isinstance(definition, OperationDefinitionNode)
            and (name is None or (definition.name and definition.name.value == name))
        ]
        if len(operations) == 1:
            return operations[0]
        if name is None and operations:
            message = "The document has several operations: say in operationName which one to run."
        elif name is None:
            message = "The document has no operation to run."
        else:
            message = "operationName must be the name of one operation of the document."
        raise Refusal(Code.GRAPHQL_VALIDATION_FAILED, message)

    def names(self, operation: OperationDefinitionNode) -> tuple[str, ...]:
        """Return what the operation asks for: its name, if it has one, and its root fields.

        At most MOST_NAMES of LONGEST_NAME characters; GraphQL names are letters, digits and _.
        """
        fragments = {
            definition.name.value: definition.selection_set
            for definition in self.parsed.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        found = dict.fromkeys([operation.name.value] if operation.name else [])
        for name in root_fields(operation.selection_set, fragments):
            found[name] = None
            if len(found) >= MOST_NAMES:
                break
        return tuple(name[:LONGEST_NAME] for name in found)


def root_fields(
    selection_set: SelectionSetNode, fragments: Mapping[str, SelectionSetNode]
) -> Iterator[str]:
    """Yield the names of the fields between two braces, those of fragments too, each once read."""
    waiting = [selection_set]
    spread: set[str] = set()
    while waiting:
        for selection in waiting.pop().selections:
            if isinstance(selection, FieldNode):
                yield selection.name.value
            elif isinstance(selection, InlineFragmentNode):
                waiting.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode):
                name = selection.name.value
                if name in fragments and name not in spread:
                    spread.add(name)
                    waiting.append(fragments[name])


def prepare(text: str) -> Document:
    """Return the document of this text, with what is wrong with it.

    Raises GraphQLSyntaxError where it is no document at all, and Refusal (QUERY_TOO_COSTLY) where
    it is too long to be read.
    """
    read = _read if len(text) <= CACHED_LENGTH else _read.__wrapped__
    return read(text, limits(), settings.DEBUG)


@lru_cache(maxsize=CACHED_DOCUMENTS)
def _read(text: str, allowed: Limits, suggestions: bool) -> Document:
    # graphql-core counts lines again for each location of each error it reports.
    if text.count("\n") + text.count("\r") > allowed.lines:
        raise too_costly("lines", allowed.lines, "send a shorter document")
    parsed = _parse(text, allowed)
    try:
        weight = weigh(parsed, None, allowed)
    except Refusal as refusal:
        return Document(parsed, (refusal.with_traceback(None),))
    errors = validate(
        schema.core, parsed, RULES, max_errors=MOST_ERRORS, hide_suggestions=not suggestions
    )
    return Document(parsed, tuple(errors), weight.introspects, weight.sized_by_variables)


def _parse(text: str, allowed: Limits) -> DocumentNode:
    try:
        return parse(text, max_lexical_tokens=allowed.tokens)
    except GraphQLSyntaxError as error:
        message, aborted, _ = error.message.partition(ABORTED)
        if not aborted:
            raise
    raise Refusal(
        Code.QUERY_TOO_COSTLY, f"{message.removeprefix(SYNTAX_ERROR)} Send a shorter document."
    )

"""How much one GraphQL document may ask for, and how much a document asks.

The document is weighed after parsing and before validation, because validation itself compares
fields pairwise. Each fragment is weighed once and its weight is added wherever it is spread, so
the work grows with the length of the document and not with what it expands to.

Introspection goes deeper than any other query: that of GraphiQL has 13 levels, those for data have
fewer than 10. So what stands under `__schema` and `__type` has a depth of its own and a fixed cost,
and how often its lists nest is bounded by graphql-core's MaxIntrospectionDepthRule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)

from schema.errors import Code, Refusal

PAGE = 50  # rows of a page whose size is not given
LARGEST_PAGE = 100
EVIDENCE = 10  # requests behind a suspicion, where no number is given
LIST_SIZES = {"evidence": EVIDENCE, "planned": 100, "hours": 100, "targets": 100}  # without pages
LIST_SIZES |= dict.fromkeys(("recentRequests", "suspicions", "rules", "pastRules", "attempts"), 10)
PAGE_ARGUMENTS = frozenset({"first", "last", "top"})
PAGE_FIELDS = frozenset({"edges", "nodes"})
INTROSPECTION_COST = 2_000  # as the answers of its lists grow with the schema
INTROSPECTION = frozenset({"__schema", "__type"})
DEEPEST_NESTING = 100  # selection sets and fragments inside each other: Python's own stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may ask for; the setting GRAPHQL_LIMITS changes single values.

    All but the first five count what is there after fragments are expanded.
    """

    body_bytes: int = 64 * 1024
    tokens: int = 1_000
    lines: int = 2_000
    operations: int = 20
    variables_depth: int = 20
    depth: int = 10
    introspection_depth: int = 20
    aliases: int = 15
    root_fields: int = 20
    root_mutations: int = 5
    directives: int = 50
    fields: int = 500
    fields_per_key: int = 100
    cost: int = 10_000


@cache
def limits() -> Limits:
    """Return the limits in force.

    Raises ImproperlyConfigured when GRAPHQL_LIMITS names an unknown limit or a value below 1.
    """
    given = getattr(settings, "GRAPHQL_LIMITS", {})
    names = [limit.name for limit in fields(Limits)]
    for name, value in given.items():
        if name not in names:
            raise ImproperlyConfigured(f"GRAPHQL_LIMITS: {name!r} is not one of {names}.")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ImproperlyConfigured(f"GRAPHQL_LIMITS: {name} is not a whole number above 0.")
    return Limits(**given)


def too_costly(name: str, limit: int, advice: str) -> Refusal:
    """Return the refusal that says which limit was passed and what to narrow."""
    return Refusal(
        Code.QUERY_TOO_COSTLY,
        f"This asks for more than {limit:,} {name}: {advice}.",
        limit=limit,
    )


@dataclass(slots=True)
class Weight:
    """What a part of a document asks for, its fragments expanded."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    cost: int = 0
    roots: int = 0
    keys: dict[str, int] = field(default_factory=dict)
    is_page: bool = False
    introspects: bool = False
    sized_by_variables: bool = False

    def add(self, other: Weight) -> None:
        """Add what stands beside this on the same level."""
        self.depth = max(self.depth, other.depth)
        self.fields += other.fields
        self.aliases += other.aliases
        self.directives += other.directives
        self.cost += other.cost
        self.roots += other.roots
        for key, count in other.keys.items():
            self.keys[key] = self.keys.get(key, 0) + count
        self.is_page |= other.is_page
        self.introspects |= other.introspects
        self.sized_by_variables |= other.sized_by_variables


def weigh(
    document: DocumentNode, variables: Mapping[str, object] | None, allowed: Limits
) -> Weight:
    """Return what all operations of the document ask for, each of them being within the limits.

    While the variables are not known (None), page sizes in variables count as one row.

    Raises Refusal: QUERY_TOO_COSTLY over a limit; GRAPHQL_VALIDATION_FAILED where fragments have
    the same name or contain themselves, because such documents have no weight.
    """
    fragments: dict[str, FragmentDefinitionNode] = {}
    operations: list[OperationDefinitionNode] = []
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            operations.append(definition)
        elif isinstance(definition, FragmentDefinitionNode):
            name = definition.name.value
            if name in fragments:
                raise invalid(f"There can be only one fragment named '{name}'.")
            fragments[name] = definition
    if len(operations) > allowed.operations:
        raise too_costly("operations", allowed.operations, "send those that are not run apart")
    known = None if variables is None else default_values(operations) | dict(variables)
    scale = Scale(fragments, known, allowed)
    for name in fragments:
        scale.fragment(name, 0)  # validation reads fragments that are spread nowhere, too
    total = Weight()
    for operation in operations:
        total.add(scale.operation(operation))
    return total


def invalid(message: str) -> Refusal:
    return Refusal(Code.GRAPHQL_VALIDATION_FAILED, message)


class Scale:
    """Weighs the parts of one document, each fragment once."""

    def __init__(
        self,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, object] | None,
        allowed: Limits,
    ) -> None:
        self.fragments = fragments
        self.variables = variables
        self.allowed = allowed
        self.weighed: dict[str, Weight] = {}
        self.open: set[str] = set()

    def operation(self, operation: OperationDefinitionNode) -> Weight:
        weight = self.selections(operation.selection_set, 0)
        weight.directives += len(operation.directives)
        weight.directives += sum(len(each.directives) for each in operation.variable_definitions)
        is_mutation = operation.operation is OperationType.MUTATION
        if is_mutation and weight.roots > self.allowed.root_mutations:
            raise too_costly("mutations", self.allowed.root_mutations, "send fewer at once")
        if weight.roots > self.allowed.root_fields:
            raise too_costly("root fields", self.allowed.root_fields, "send several requests")
        self.check_depth(weight, self.allowed.depth)
        self.check(weight)
        return weight

    def fragment(self, name: str, nesting: int) -> Weight:
        """Return the weight of one fragment; nothing where it is unknown, as validation says so."""
        known = self.weighed.get(name)
        if known is not None or name not in self.fragments:
            return known or Weight()
        definition = self.fragments[name]
        if name in self.open:
            raise invalid(f"Cannot spread fragment '{name}' within itself.")
        self.open.add(name)
        weight = self.selections(definition.selection_set, nesting + 1)
        self.open.remove(name)
        weight.directives += len(definition.directives)
        self.weighed[name] = weight
        return weight

    def selections(self, selection_set: SelectionSetNode, nesting: int) -> Weight:
        """Return the weight of everything between two braces."""
        if nesting > DEEPEST_NESTING:
            raise too_costly("levels", DEEPEST_NESTING, "nest fragments and fields less deeply")
        weight = Weight()
        for selection in selection_set.selections:
            weight.directives += len(selection.directives)
            if isinstance(selection, FieldNode):
                weight.add(self.field(selection, nesting))
            elif isinstance(selection, FragmentSpreadNode):
                weight.add(self.fragment(selection.name.value, nesting))
                weight.fields += 1  # a spread is work, too, even of a fragment that adds nothing
            elif isinstance(selection, InlineFragmentNode):
                weight.add(self.selections(selection.selection_set, nesting + 1))
        self.check(weight)
        return weight

    def field(self, node: FieldNode, nesting: int) -> Weight:
        """Return the weight of a field with all that is asked of it."""
        weight = (
            self.selections(node.selection_set, nesting + 1) if node.selection_set else Weight()
        )
        rows = self.rows(node, weight)
        name = node.name.value
        key = node.alias.value if node.alias else name
        weight.roots = 1
        weight.fields += 1
        weight.keys[key] = weight.keys.get(key, 0) + 1
        weight.aliases += node.alias is not None
        weight.is_page = name in PAGE_FIELDS
        if name in INTROSPECTION:
            weight.introspects = True
            self.check_depth(weight, self.allowed.introspection_depth)
            weight.depth, weight.cost = 1, INTROSPECTION_COST
        else:
            weight.depth += 1
            weight.cost = 1 + rows * weight.cost
        return weight

    def rows(self, node: FieldNode, inside: Weight) -> int:
        """Return how often the inside of a field is answered: its page size, if it has pages."""
        for argument in node.arguments:
            if argument.name.value in PAGE_ARGUMENTS:
                inside.sized_by_variables |= isinstance(argument.value, VariableNode)
                return self.size(argument.value)
        return PAGE if inside.is_page else LIST_SIZES.get(node.name.value, 1)

    def size(self, value: ValueNode) -> int:
        if isinstance(value, VariableNode):
            given = 1 if self.variables is None else self.variables.get(value.name.value)
        else:
            given = whole_number(value)
        # A size outside the range costs nothing: the field itself refuses it.
        return min(max(given, 1), LARGEST_PAGE) if isinstance(given, int) else PAGE

    def check(self, weight: Weight) -> None:
        """Return when this much is allowed. Raises Refusal (QUERY_TOO_COSTLY)."""
        allowed = self.allowed
        most = max(weight.keys.values(), default=0)
        for asked, limit, name, advice in (
            (weight.fields, allowed.fields, "fields", "name fewer fields and fragments"),
            (most, allowed.fields_per_key, "fields of one name", "name each field once"),
            (weight.aliases, allowed.aliases, "aliases", "send several requests"),
            (weight.directives, allowed.directives, "directives", "use fewer of them"),
            (weight.cost, allowed.cost, "values", "ask for smaller pages with `first`"),
        ):
            if asked > limit:
                raise too_costly(name, limit, advice)

    def check_depth(self, weight: Weight, limit: int) -> None:
        if weight.depth > limit:
            raise too_costly("levels of fields", limit, "nest them less deeply")


def default_values(operations: Iterable[OperationDefinitionNode]) -> dict[str, object]:
    """Return the whole numbers that the variables of these operations have by default."""
    return {
        definition.variable.name.value: whole_number(definition.default_value)
        for operation in operations
        for definition in operation.variable_definitions
    }


def whole_number(value: ValueNode | None) -> int | None:
    """Return a number from a document; nine digits of it, as int() is slow on thousands."""
    return int(value.value[:9]) if isinstance(value, IntValueNode) else None


def _forget(*, setting: str, **_: object) -> None:
    if setting == "GRAPHQL_LIMITS":
        limits.cache_clear()


setting_changed.connect(_forget)

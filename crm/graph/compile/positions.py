"""Where variables may stand."""

from typing import Any, Final

from graphql import (
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLType,
    OperationDefinitionNode,
    Undefined,
    VariablesInAllowedPositionRule,
    get_named_type,
    is_input_object_type,
    is_nullable_type,
    specified_rules,
    type_from_ast,
)
from graphql.validation.rules.variables_in_allowed_position import allowed_variable_usage

_ONLY_NUMBERS: Final = (
    " This older argument takes numbers alone: declare `${name}: {type}`, or use a field whose argument is an ID, as"
    " `leadBy(input: {{id: ${name}}})`, `node` or `setTaskSource`."
)
# What was an `Int` takes an `ID` now; documents whose variables are of the older type stay valid.
_OLDER: Final = {"Int": "ID", "IntFilter": "IntIDFilter"}


class VariablesFitRule(VariablesInAllowedPositionRule):
    """GraphQL's rule; besides, a variable of type `Int` may stand where an `ID` is expected."""

    def leave_operation_definition(self, operation: OperationDefinitionNode, *_: Any) -> None:
        """Check each use of each variable."""
        schema = self.context.schema
        for usage in self.context.get_recursive_variable_usages(operation):
            definition = self.var_def_map.get(usage.node.name.value)
            given = type_from_ast(schema, definition.type) if definition else None
            if definition is None or given is None or usage.type is None:
                continue
            name, nodes = usage.node.name.value, [definition, usage.node]
            kinds = (given, _newer(given, schema))
            if not any(
                allowed_variable_usage(schema, kind, definition.default_value, usage.type, usage.default_value)
                for kind in kinds
            ):
                message = f"Variable '${name}' of type '{given}' used in position expecting type '{usage.type}'."
                if (
                    str(get_named_type(given)) == "ID"
                    and str(usage.type) == "Int!"
                    and usage.default_value is Undefined
                ):
                    message += _ONLY_NUMBERS.format(name=name, type=usage.type)
                self.report_error(GraphQLError(message, nodes))
            parent = usage.parent_type
            if is_input_object_type(parent) and parent.is_one_of and is_nullable_type(given):
                message = (
                    f"Variable '${name}' is of type '{given}' but must be non-nullable to be used for OneOf Input "
                    f"Object '{parent}'."
                )
                self.report_error(GraphQLError(message, nodes))


def _newer(kind: GraphQLType, schema: GraphQLSchema) -> Any:
    if isinstance(kind, GraphQLNonNull):
        return GraphQLNonNull(_newer(kind.of_type, schema))
    if isinstance(kind, GraphQLList):
        return GraphQLList(_newer(kind.of_type, schema))
    return schema.type_map.get(_OLDER.get(str(kind), ""), kind)


RULES: Final = tuple(VariablesFitRule if rule is VariablesInAllowedPositionRule else rule for rule in specified_rules)

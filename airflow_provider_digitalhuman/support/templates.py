"""Templated arguments: what is known of them when the DAG file is parsed, and how they are rendered."""

from typing import Any, ClassVar, Final

from airflow_provider_digitalhuman.exceptions import InvalidRequestError

_LITERALS: Final = int | float | list | dict | tuple | None
_MARK: Final = "?"
"""Makes a rendered text no literal of Python, so that native rendering leaves it alone."""


def is_rendered_later(value: Any) -> bool:
    """Return whether ``value`` is a template or an XComArg, not a literal."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value or "{#" in value
    return not isinstance(value, _LITERALS)


class RenderedAsText:
    """Mixin for operators: some fields stay the text that was rendered, also with native rendering.

    With ``render_template_as_native_obj=True`` Airflow evaluates a rendered text as a literal of Python: the ID
    ``20250101_0007`` would become the number 202501010007, and ``0x1F`` would become 31.
    """

    text_fields: ClassVar[tuple[str, ...]]
    """Names of these fields."""

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render all fields as Airflow does, and those that came out as a number or tuple once more as text."""
        templates = {name: getattr(self, name) for name in self.text_fields}
        super().render_template_fields(context, jinja_env)  # type: ignore[misc]  # the operator's
        for name, template in templates.items():
            if isinstance(template, str) and _may_have_been_text(getattr(self, name)):
                text: str = self.render_template(template + _MARK, context, jinja_env)  # type: ignore[attr-defined]
                setattr(self, name, text.removesuffix(_MARK))


def refuse_number_of_native_rendering(task: Any, field: str, map_index: int | None) -> None:
    """Refuse a number in a mapped task, whose fields Airflow renders without asking the operator.

    :raises InvalidRequestError: naming native rendering, where it cannot be known which text the number was.
    """
    value, dag = getattr(task, field), task.get_dag()
    native = getattr(task, "render_template_as_native_obj", None)  # the task's own: Airflow 3.3 and later
    if native is None:
        native = dag is not None and dag.render_template_as_native_obj
    if native and map_index is not None and map_index >= 0 and _may_have_been_text(value):
        raise InvalidRequestError(
            f"{field}={value!r} cannot be used: render_template_as_native_obj=True has made a number of a text, and"
            f" which text that was cannot be known. Give {field} as the output of a task (create.output), or map over"
            " it with expand(), or turn native rendering off."
        )


def template_for_triggerer(value: Any) -> str | None:
    """Return ``value`` as a template that Airflow's triggerer can render (3.3 and later), None where there is none.

    There, an ``xcom_pull`` without ``map_indexes`` waits for ever: the triggerer has no answer to its request.
    """
    from airflow.sdk.definitions.xcom_arg import PlainXComArg  # not in Airflow 2

    if isinstance(value, PlainXComArg):
        task = value.operator
        if task.is_mapped or task.get_closest_mapped_task_group() is not None:
            return None
        return f"{{{{ ti.xcom_pull(task_ids={task.task_id!r}, key={value.key!r}, map_indexes=-1) }}}}"
    if isinstance(value, str) and ("xcom_pull" not in value or "map_indexes" in value):
        return value
    return None


def _may_have_been_text(value: Any) -> bool:
    return isinstance(value, int | float | complex | tuple) and not isinstance(value, bool)

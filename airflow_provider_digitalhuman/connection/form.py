"""The connection form for Airflow below 3.2, made from the declaration that later versions read themselves."""

from typing import Any

from airflow_provider_digitalhuman.get_provider_info import get_provider_info


def ui_field_behaviour() -> dict[str, Any]:
    """Return hidden, renamed and pre-filled standard fields under the names that Airflow below 3.2 uses."""
    declared = _connection_type()["ui-field-behaviour"]
    return {key.replace("-", "_"): value for key, value in declared.items()}


def form_widgets() -> dict[str, Any]:
    """Return a wtforms field for each declared extra field; all text: 3.0 and 3.1 know no field for numbers."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import StringField
    from wtforms.validators import Optional

    return {
        name: StringField(
            field["label"], description=field["description"], validators=[Optional()], widget=BS3TextFieldWidget()
        )
        for name, field in _connection_type()["conn-fields"].items()
    }


def _connection_type() -> dict[str, Any]:
    declared: dict[str, Any] = get_provider_info()["connection-types"][0]
    return declared

"""What is chosen on the page of exports, read into the arguments of one action."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from exchange.domain.delimited import Variant
from exchange.selectors import datasets_for
from trials.models import Membership

VARIANT_WORDS = {
    Variant.STATISTICAL: _("for statistics: text as it was entered, byte for byte"),
    Variant.SPREADSHEET: _("for a spreadsheet: text that would be computed there is made harmless"),
}


class ExportForm(forms.Form):
    """Which data sets, for whom; everything the membership may take out is chosen beforehand."""

    datasets = forms.MultipleChoiceField(label=_("Data sets"), widget=forms.CheckboxSelectMultiple)
    variant = forms.ChoiceField(
        label=_("Files"),
        widget=forms.RadioSelect,
        choices=[(variant.value, words) for variant, words in VARIANT_WORDS.items()],
        initial=Variant.STATISTICAL,
    )

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = datasets_for(membership)
        field = self.fields["datasets"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [
            (one.id, format_html('{} <span class="soft">{}</span>', one.label, one.description)) for one in offered
        ]
        field.initial = [one.id for one in offered]

"""What a person types at a gate, and how a listing is narrowed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from analysis.domain.consecutive_threshold import Status
from analysis.domain.gates import decisions
from analysis.domain.readings import ANSWERS as READING_ANSWERS
from analysis.models import Gate
from analysis.selectors import DECIDED, UNDECIDED, signed
from trials.forms import SignedForm
from trials.models import Membership
from trials.selectors import may_see_group, sites_of

DECISION_WORDS = {
    "continue": _("Continue with the next stage"),
    "modify": _("Continue with a modification"),
    "stop": _("Stop"),
    "success": _("Success: the treatment is worth pursuing"),
}
STATUS_WORDS = {
    Status.REACHED: _("reached"),
    Status.NOT_REACHED: _("not reached"),
    Status.COMPETING: _("competing event first"),
    Status.PENDING: _("pending"),
    Status.INSUFFICIENT_DATA: _("insufficient data"),
}


class DecisionForm(SignedForm):
    """The decision of a gate; ``seen`` is the snapshot that was read."""

    meaning = signed.GATE_DECISION

    decision = forms.ChoiceField(label=_("Decision"), widget=forms.RadioSelect)
    reason = forms.CharField(
        label=_("Reason"),
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=2000,
        help_text=_("Stands in the audit trail and on this page for good."),
    )
    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, gate: Gate, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        possible = decisions(gate.stage, len(gate.protocol_version.protocol.design.stages))
        field = self.fields["decision"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(one, DECISION_WORDS[one]) for one in possible]


class SafetyReviewForm(SignedForm):
    meaning = signed.SAFETY_REVIEW

    review = forms.CharField(
        label=_("Safety review"),
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=5000,
        help_text=_("What was reviewed, and whether it speaks against going on."),
    )
    seen = forms.CharField(widget=forms.HiddenInput, required=False)


class RenewalForm(forms.Form):
    reason = forms.CharField(
        label=_("Why a new snapshot"),
        max_length=500,
        help_text=_("The old snapshot stays in the audit trail; a signed safety review has to be signed again."),
    )


class ListingForm(forms.Form):
    """The filters of the listing of endpoints; each is part of the address."""

    set = forms.ChoiceField(label=_("Set"), required=False)
    status = forms.ChoiceField(
        label=_("Endpoint"),
        required=False,
        choices=[
            ("", _("any")),
            (DECIDED, _("decided (not pending)")),
            (UNDECIDED, _("not decided yet")),
            *[(status.value, words) for status, words in STATUS_WORDS.items()],
            ("no_result", _("no result yet")),
        ],
    )
    evaluable = forms.ChoiceField(
        label=_("Evaluable"),
        required=False,
        choices=[("", _("any")), ("yes", _("yes")), ("no", _("no")), ("open", _("not known yet"))],
    )
    site = forms.ChoiceField(label=_("Site"), required=False)
    endpoint = forms.ChoiceField(required=False, widget=forms.HiddenInput)
    group = forms.ChoiceField(required=False, widget=forms.HiddenInput)
    item = forms.ChoiceField(required=False, widget=forms.HiddenInput)
    value = forms.CharField(required=False, widget=forms.HiddenInput, max_length=200)
    replaced = forms.BooleanField(required=False, widget=forms.HiddenInput)
    left = forms.ChoiceField(required=False, widget=forms.HiddenInput)
    why = forms.SlugField(required=False, widget=forms.HiddenInput, max_length=200)

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sets = [(one.id, one.label) for one in membership.trial.protocol.analysis_sets]
        protocol = membership.trial.protocol
        # Only who may see the groups narrows to one.
        groups = [(one.id, one.label) for one in protocol.groups] if may_see_group(membership, protocol) else []
        sites = [(site.code, site.code) for site in sites_of(membership)]
        for name, choices in (
            ("set", [("", _("everybody enrolled")), *sets]),
            ("left", [("", ""), *sets]),
            ("endpoint", [("", ""), *((one.id, one.label) for one in protocol.endpoints)]),
            ("group", [("", ""), *groups]),
            ("item", [("", ""), *((address, address) for address in protocol.addresses())]),
            ("site", [("", _("all that I see")), *sites]),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = choices
        if len(sites) < 2:
            del self.fields["site"]


class RunForm(forms.Form):
    """On which data the statistical plan is computed, and why."""

    as_of = forms.DateField(
        label=_("Data until"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=_("The last day that counts; empty: today."),
    )
    reason = forms.CharField(
        label=_("Reason"), max_length=500, help_text=_("Such as: report to the committee. It stands on the report.")
    )


class FirstInFocus(forms.RadioSelect):
    """Radio buttons whose first one has the focus when the page opens, so that a digit chooses at once."""

    def create_option(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(*args, **kwargs)
        if option["index"] == "0":
            option["attrs"]["autofocus"] = True
        return option


class ReadingForm(SignedForm):
    """One reader's answer on a case; ``settles`` is what the page said that it would do."""

    answer = forms.ChoiceField(
        label=_("Your reading"), choices=list(READING_ANSWERS.items()), widget=FirstInFocus, required=True
    )
    comment = forms.CharField(
        label=_("Comment"), widget=forms.Textarea(attrs={"rows": 2}), required=False, max_length=2000
    )
    seen = forms.CharField(widget=forms.HiddenInput, required=True, max_length=64)
    settles = forms.BooleanField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self["settles"].value() in (True, "True"):
            self.fields["comment"].label = _("Why")
            self.fields["comment"].required = True

    @property
    def meaning(self) -> str:  # type: ignore[override]
        return signed.SETTLING if self.cleaned_data.get("settles") else signed.READING

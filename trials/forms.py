"""What people type on the pages of the trials floor, read into the arguments of one action."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.roles import ROLES
from accounts.signing import NO_WAY, NotProved, components_asked, prove
from audit.context import Source
from trials import actions, selectors
from trials.domain.lifecycle import ParticipantState
from trials.domain.partial_dates import DateEntryError, enter_date
from trials.models import Membership, Participant, ProtocolVersion, Site

DATE_HELP = _("Such as 12nov26, 12.11.2026 or 2026-11-12; t is today, y yesterday.")


class DayField(forms.CharField):
    """A day, in the grammar of all date entries; echoed as 12-Nov-2026."""

    def __init__(self, *, anchor_date: date | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("help_text", DATE_HELP)
        kwargs.setdefault("widget", forms.TextInput(attrs={"autocomplete": "off", "size": 14}))
        self.anchor_date = anchor_date
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value.strftime("%d-%b-%Y") if isinstance(value, date) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            entered = enter_date(text, today=timezone.localdate(), anchor_date=self.anchor_date)
        except DateEntryError as error:
            raise forms.ValidationError(str(error)) from None
        if entered.exact is None:
            raise forms.ValidationError(_("The day itself is needed here, not only the month or the year."))
        return entered.exact


class PartialDayField(forms.CharField):
    """A date that may be partial; cleaned to ISO 8601, empty while not known."""

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if not text:
            return ""
        try:
            return enter_date(text, today=timezone.localdate()).iso()
        except DateEntryError as error:
            raise forms.ValidationError(str(error)) from None


def reason_field(**kwargs: Any) -> forms.CharField:
    kwargs.setdefault("label", _("Reason"))
    kwargs.setdefault("help_text", _("It stands in the audit trail."))
    return forms.CharField(widget=forms.Textarea(attrs={"rows": 2}), **kwargs)


class SignedForm(forms.Form):
    """A form that is signed: its last fields ask the signer to show who they are, once everything else is right.

    ``cleaned_data`` has the ``proof`` in their place. What could not be shown is an error of its field and on record;
    what was typed stays on the page, but for the password.
    """

    #: What the signature says.
    meaning = ""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request = request
        self.asked = components_asked(request)
        for name in self.asked:
            self.fields[name] = _signing_field(name)
        self.no_way = "" if self.asked else NO_WAY

    @property
    def signature_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.asked]

    def clean(self) -> dict[str, Any]:
        typed = super().clean() or self.cleaned_data
        if self.errors:
            return typed
        given = {name: typed.pop(name) for name in self.asked}
        try:
            typed["proof"] = prove(self._request, **given)
        except NotProved as refused:
            if refused.why:
                actions.record_failed_signature(
                    by=self._request.membership,  # type: ignore[attr-defined]
                    meaning=self.meaning,
                    why=refused.why,
                )
            self.add_error(refused.field, str(refused))
        return typed


def _signing_field(name: str) -> forms.CharField:
    if name == "password":
        return forms.CharField(
            label=_("Your password"),
            strip=False,
            widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        )
    if name == "code":
        return forms.CharField(
            label=_("Code of your authenticator app"),
            widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
        )
    return forms.CharField(
        label=_("Your username"),
        help_text=_("Asked at the first signature of a login."),
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}),
    )


class RegisterForm(forms.Form):
    site = forms.ModelChoiceField(Site.objects.none(), label=_("Site"), empty_label=None)
    screened_on = DayField(label=_("Screening began on"))
    birth_date = PartialDayField(
        label=_("Date of birth"),
        required=False,
        help_text=_("May be partial: may 2012, 2012. Leave it empty while it is not known."),
    )
    sex = forms.ChoiceField(
        label=_("Sex"),
        choices=[("female", _("female")), ("male", _("male")), ("unknown", _("not known"))],
        widget=forms.RadioSelect,
    )
    screening_number = forms.CharField(
        label=_("Screening number"), required=False, max_length=20, help_text=_("Empty: the next free number.")
    )
    submission = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = selectors.sites_of(membership).filter(is_open=True)  # type: ignore[attr-defined]


class ConsentForm(forms.Form):
    version = forms.ChoiceField(label=_("Version of the consent form"))
    signed_on = DayField(label=_("Signed on"))
    signatories = forms.MultipleChoiceField(label=_("Signed by"), widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, participant: Participant, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        versions, names = selectors.consent_choices(participant)
        self.fields["version"].choices = [(version, version) for version in versions]  # type: ignore[attr-defined]
        self.fields["signatories"].choices = [  # type: ignore[attr-defined]
            (name, name.replace("_", " ")) for name in names
        ]


class ConsentWithdrawalForm(forms.Form):
    withdrawn_on = DayField(label=_("Withdrawn on"))
    reason = reason_field(help_text=_("As the person gave it, or: none given."))


class AnchorForm(forms.Form):
    day = DayField(label=_("Date"))
    is_actual = forms.BooleanField(label=_("It has taken place"), required=False)
    reason = reason_field(label=_("Reason for the move"), required=False)
    confirmed = forms.CharField(widget=forms.HiddenInput, required=False)


class VisitDoneForm(forms.Form):
    done_on = DayField(
        label=_("Took place on"), help_text=_("Such as 12nov26 or 2026-11-12, t for today, d+21 for day 21.")
    )
    reason = reason_field(label=_("Reason for the change"), required=False)

    def __init__(self, *args: Any, anchor_date: date | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["done_on"].anchor_date = anchor_date  # type: ignore[attr-defined]


class VisitMissedForm(forms.Form):
    reason = reason_field(label=_("Why was the visit missed?"))


class UnscheduledVisitForm(forms.Form):
    on = DayField(label=_("Took place on"))


class ReasonForm(forms.Form):
    reason = reason_field()


class ScreenFailureForm(forms.Form):
    choice = forms.ChoiceField(label=_("Reason"), widget=forms.RadioSelect)
    words = forms.CharField(label=_("In other words"), required=False, max_length=300)

    def __init__(self, *args: Any, participant: Participant, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        codes = participant.protocol.eligibility.screen_failure_reasons
        self.fields["choice"].choices = [(code.label, code.label) for code in codes] or [  # type: ignore[attr-defined]
            ("Other", _("Other"))
        ]

    @property
    def reason(self) -> str:
        words = self.cleaned_data["words"].strip()
        return f"{self.cleaned_data['choice']}: {words}" if words else str(self.cleaned_data["choice"])


class WithdrawalForm(forms.Form):
    on = DayField(label=_("Left the trial on"))
    reason = reason_field()


class DeviationForm(forms.Form):
    rule = forms.ChoiceField(label=_("Rule of the protocol"), required=False)
    occurred_on = DayField(label=_("Happened on"), required=False)
    description = forms.CharField(label=_("What happened"), widget=forms.Textarea(attrs={"rows": 3}))
    is_major = forms.BooleanField(label=_("Major"), required=False)
    removes_from_efficacy = forms.BooleanField(
        label=_("Takes the participant out of the efficacy sets (never out of safety)"), required=False
    )

    def __init__(self, *args: Any, participant: Participant, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rules = participant.protocol.eligibility.removal
        self.fields["rule"].choices = [  # type: ignore[attr-defined]
            ("", _("none of them")),
            *[(rule.id, f"{rule.id}: {rule.text}") for rule in rules],
        ]


class DeviationDecisionForm(forms.Form):
    is_confirmed = forms.TypedChoiceField(
        label=_("Is it so?"),
        choices=[("yes", _("yes, confirmed")), ("no", _("no, it is not"))],
        coerce=lambda text: text == "yes",
        widget=forms.RadioSelect,
    )
    reason = reason_field(required=False)


class SiteApprovalForm(forms.Form):
    site = forms.ModelChoiceField(Site.objects.none(), label=_("Site"), empty_label=None)
    version = forms.ModelChoiceField(ProtocolVersion.objects.none(), label=_("Protocol version"), empty_label=None)
    approved_on = DayField(label=_("Approved on"))

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        trial = membership.trial
        self.fields["site"].queryset = trial.sites.order_by("code")  # type: ignore[attr-defined]
        self.fields["version"].queryset = trial.versions.select_related("trial").order_by("-pk")  # type: ignore[attr-defined]


class MembershipForm(forms.Form):
    username = forms.CharField(label=_("Username"), help_text=_("Of an account that there is already."))
    role = forms.ChoiceField(label=_("Role"), choices=[(key, role.display_name) for key, role in ROLES.items()])
    site = forms.ModelChoiceField(Site.objects.none(), label=_("Site"), required=False, empty_label=_("all sites"))
    valid_from = DayField(label=_("From"))
    valid_until = DayField(label=_("Until"), required=False)
    reason = reason_field(help_text=_("Such as the delegation log entry; it stands in the audit trail."))

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = membership.trial.sites.order_by("code")  # type: ignore[attr-defined]

    def clean_username(self) -> User:
        user = User.objects.filter(username__iexact=self.cleaned_data["username"].strip()).first()
        if user is None:
            raise forms.ValidationError(_("There is no account of that name. The administrator opens it first."))
        return user


class EndMembershipForm(forms.Form):
    on = DayField(label=_("Last day"))
    reason = reason_field()


class ParticipantFilterForm(forms.Form):
    """The filter of the participant list; it lives in the address."""

    q = forms.CharField(label=_("Code"), required=False, max_length=40)
    site = forms.ChoiceField(label=_("Site"), required=False)
    status = forms.ChoiceField(
        label=_("Status"),
        required=False,
        choices=[("", _("any")), *[(state.value, state.value.replace("_", " ")) for state in ParticipantState]],
    )
    due = forms.ChoiceField(
        label=_("Next visit"),
        required=False,
        choices=[("", _("any")), ("overdue", _("overdue")), ("open", _("window open")), ("week", _("in 7 days"))],
    )

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sites = [(site.code, f"{site.code} {site.name}") for site in selectors.sites_of(membership)]
        self.fields["site"].choices = [("", _("any")), *sites]  # type: ignore[attr-defined]

    def narrowed(self, rows: Any, today: date) -> Any:
        """``rows`` (of ``selectors.participants``) as the filter wants them; a filter of unknown words finds nobody."""
        if not self.is_valid():
            return rows.none()
        chosen = self.cleaned_data
        if chosen.get("q"):
            rows = rows.filter(number__icontains=chosen["q"]) | rows.filter(screening_number__icontains=chosen["q"])
        if chosen.get("site"):
            rows = rows.filter(site__code=chosen["site"])
        if chosen.get("status"):
            rows = rows.filter(status=chosen["status"])
        if chosen.get("due"):
            rows = rows.filter(status__in=selectors.IN_FOLLOW_UP)
        if chosen.get("due") == "overdue":
            rows = rows.filter(next_latest__lt=today)
        elif chosen.get("due") == "open":
            rows = rows.filter(next_earliest__lte=today, next_latest__gte=today)
        elif chosen.get("due") == "week":
            rows = rows.filter(next_earliest__lte=today + timedelta(days=7), next_latest__gte=today)
        return rows


class TrailFilterForm(forms.Form):
    """What the audit trail is narrowed to; ``since`` is how a monitor asks what changed since the last visit."""

    participant = forms.CharField(label=_("Participant"), required=False, max_length=20)
    who = forms.CharField(label=_("Who"), required=False, max_length=60)
    since = forms.DateField(
        label=_("Since"),
        required=False,
        input_formats=["%Y-%m-%d", "%d-%b-%Y", "%d.%m.%Y"],
        widget=forms.TextInput(attrs={"placeholder": "2026-11-05"}),
        error_messages={"invalid": _("Write the date as 2026-11-05, 05-Nov-2026 or 05.11.2026.")},
    )
    source = forms.ChoiceField(label=_("From"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["source"].choices = [("", _("everywhere")), *((one.value, one.value) for one in Source)]  # type: ignore[attr-defined]

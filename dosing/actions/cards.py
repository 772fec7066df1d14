"""The dose card on paper: set from what is known, and on record as taken before the first byte leaves."""

from __future__ import annotations

import hashlib
from datetime import date

from django.db import transaction

import audit.context
from dosing import selectors
from dosing.models import CardCopy
from dosing.permissions import NotPossible, check_can_see_doses
from dosing.reports.dose_card import dose_card_document
from trials.formats.documents import as_pdf
from trials.models import Membership, Participant


def take_card(*, participant: Participant, by: Membership, today: date, looks: bool = False) -> bytes:
    """The card of ``participant`` as a PDF, the same bytes while what it says is the same.

    Who could still verify the dose says with ``looks`` that they do not mean to: the second entry is a blind one.
    """
    check_can_see_doses(by, participant)
    card = selectors.dose_card(participant, by, today, looks=looks)
    worksheet = card.worksheet or card.imported
    if worksheet is None:
        raise NotPossible("There is no dose card yet: no dose was computed or imported for this participant.")
    if card.is_hidden:
        raise NotPossible("The card shows what you would verify. Show the dose first; then another person verifies it.")
    pdf = as_pdf(dose_card_document(card, participant))
    with transaction.atomic(), audit.context.context(by=by):
        CardCopy.objects.create(
            worksheet=worksheet, participant=participant, sha256=hashlib.sha256(pdf).hexdigest(), by=by
        )
    return pdf

"""Mutants of devices: whose mailbox is owed what, and from when on."""

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from landline.delivery import beginnings, receipts, session
from landline.delivery.decisions import Welcome
from landline.delivery.devices import Answer, DeviceState, Recognition
from landline.gateway import devices
from landline.model import DeviceChange, Mailbox, Message, Positions, Receipt
from landline.protocol.records import ReceiptEntry
from simulation.mutants.mutant import mutant, patch
from simulation.store import Store

# What the store makes of them ------------------------------------------------------------------


@mutant("a message is not owed to the device that sent it", "ports.py", "I13 I15", 1)
def owed_to_the_device_that_sent_it() -> AbstractContextManager[Any]:
    owe = Store._owe

    def owe_all(self: Store, event: Message, conversation: Any) -> None:
        owe(self, dataclasses.replace(event, device="nobody"), conversation)

    return patch(Store, "_owe", owe_all)


@mutant("a device begins in each partition with its record there", "ports.py", "I2 I2c I13", 69)
def begun_in_one_partition_for_all() -> AbstractContextManager[Any]:
    def open_everywhere(self: Store, change: DeviceChange, partition: int) -> None:
        since = self.devices.setdefault(change.user, {}).setdefault(change.device, {})
        for each in range(self.partitions):
            since.setdefault(each, change.offset)

    return patch(Store, "_open", open_everywhere)


@mutant("what one device acknowledges is still owed to the others", "ports.py", "I2 I2c", 3)
def receipt_counts_for_all_devices() -> AbstractContextManager[Any]:
    settle = Store._settle

    def settle_all(self: Store, receipt: Receipt, partition: int) -> None:
        for mailbox in self.mailboxes(receipt.mailbox.user):
            settle(self, receipt._replace(mailbox=mailbox), partition)

    return patch(Store, "_settle", settle_all)


@mutant("the first acknowledgement ends what the default mailbox owes", "ports.py", "I15 I5", 1)
def default_mailbox_keeps_what_a_device_has() -> AbstractContextManager[Any]:
    settle = Store._settle

    def keep_default(self: Store, receipt: Receipt, partition: int) -> None:
        rows = self.owed.get(Mailbox(receipt.mailbox.user), {})
        kept = dict(rows) if receipt.mailbox.device is not None else {}
        settle(self, receipt, partition)
        rows.update(kept)

    return patch(Store, "_settle", keep_default)


@mutant("a device that ends leaves what no other has to the default mailbox", "ports.py", "I2", 66)
def nothing_is_left_by_a_device_that_ends() -> AbstractContextManager[Any]:
    close = Store._close

    def drop(self: Store, change: DeviceChange, partition: int) -> None:
        self.owed.get(Mailbox(change.user, change.device), {}).clear()
        close(self, change, partition)

    return patch(Store, "_close", drop)


@mutant("a record of a device that is there already changes nothing", "ports.py", "I2 I2c I15", 3)
def begun_again_with_every_record() -> AbstractContextManager[Any]:
    open_device = Store._open

    def begin_again(self: Store, change: DeviceChange, partition: int) -> None:
        rows = self.owed.get(Mailbox(change.user, change.device), {})
        for position in [each for each in rows if each.partition == partition]:
            del rows[position]
        open_device(self, change, partition)

    return patch(Store, "_open", begin_again)


# What servers make of them ----------------------------------------------------------------------


@mutant("a device has a record in every partition", "delivery/devices.py", "I2 I2b I15", 68)
def one_record_for_all_partitions() -> AbstractContextManager[Any]:
    open_device = beginnings.Beginnings.open_device

    def in_one(
        self: beginnings.Beginnings, each: session.Session, partitions: frozenset[int]
    ) -> None:
        open_device(self, each, frozenset({min(partitions)}))

    def never(self: DeviceState, _mailbox: Mailbox, _pending: Any) -> tuple[Answer, frozenset[int]]:
        return Answer.NOTHING, frozenset()

    return _both(
        patch(beginnings.Beginnings, "open_device", in_one), patch(DeviceState, "judge", never)
    )


@mutant(
    "a session whose mailbox gets nothing new has to come again",
    "delivery/devices.py",
    "I2b I2c I2p I2 I15",
    304,
)
def stays_with_a_mailbox_that_is_closed() -> AbstractContextManager[Any]:
    judge = DeviceState.judge

    def stay(self: DeviceState, mailbox: Mailbox, pending: Any) -> tuple[Answer, frozenset[int]]:
        answer, partitions = judge(self, mailbox, pending)
        return (Answer.NOTHING if answer is Answer.LEAVE else answer), partitions

    return patch(DeviceState, "judge", stay)


@mutant(
    "a session without a device uses a mailbox of its own once there are devices",
    "delivery/devices.py",
    "I2 I15",
    8,
)
def nameless_whatever_there_is() -> AbstractContextManager[Any]:
    recognise = devices.recognise

    def default(mailbox: Mailbox, known: Any, partitions: frozenset[int]) -> Recognition:
        if mailbox.device is None:
            return Recognition(mailbox)
        return recognise(mailbox, known, partitions)

    return patch(devices, "recognise", default)


@mutant(
    "a device that is new is in the log before its welcome", "delivery/beginnings.py", "I2p", 2340
)
def welcomed_before_it_begins() -> AbstractContextManager[Any]:
    recognised = beginnings.Beginnings.recognised

    def at_once(
        self: beginnings.Beginnings, session: session.Session, recognition: Recognition | None
    ) -> bool:
        is_early = session.id in self._early and recognition is not None and recognition.is_new
        if is_early and not session.has_begun:
            self._out.append(Welcome(session.id, self._welcome(session, is_new=True)))
        return recognised(self, session, recognition)

    opened = beginnings.Beginnings.opened

    def without(self: beginnings.Beginnings, session: session.Session, at: Positions) -> None:
        early = self._early.pop(session.id, None)
        opened(self, session, at)
        if early is not None:
            self._early[session.id] = early

    return _both(
        patch(beginnings.Beginnings, "recognised", at_once),
        patch(beginnings.Beginnings, "opened", without),
    )


@mutant("that one's own other device has it is no delivery", "delivery/devices.py", "I8", 3)
def own_acks_are_told() -> AbstractContextManager[Any]:
    return patch(session.Session, "_is_news", lambda _self, _message: True)


@mutant("a receipt names the device", "delivery/devices.py", "I15 I5", 1)
def receipts_without_device() -> AbstractContextManager[Any]:
    def without(recipient: str, _device: str | None, message_ids: Any) -> ReceiptEntry:
        return ReceiptEntry(recipient, None, message_ids)

    return patch(receipts, "ReceiptEntry", without)


@mutant(
    "what a mailbox has acknowledged says nothing of another", "delivery/devices.py", "I2 I2c", 7
)
def settled_for_all_devices() -> AbstractContextManager[Any]:
    is_settled = receipts.Receipts.is_settled

    def for_all(self: receipts.Receipts, message_id: str, mailbox: Mailbox) -> bool:
        known = {each for id, each in self._settled if id == message_id}
        others = any(each.user == mailbox.user for each in known)
        return others or is_settled(self, message_id, mailbox)

    return patch(receipts.Receipts, "is_settled", for_all)


@mutant("one's own messages go to one's other devices", "delivery/devices.py", "I2 I2p I2b", 7)
def own_messages_are_not_owed() -> AbstractContextManager[Any]:
    mailboxes = Store._open_mailboxes
    owe = Store._owe

    def others_only(self: Store, event: Message, conversation: Any) -> None:
        def not_own(each: Store, user: str, partition: int) -> list[Mailbox]:
            is_own = user == event.sender and user not in event.recipients
            return [] if is_own else mailboxes(each, user, partition)

        with patch(Store, "_open_mailboxes", not_own):
            owe(self, event, conversation)

    return patch(Store, "_owe", others_only)


@contextmanager
def _both(one: AbstractContextManager[Any], other: AbstractContextManager[Any]) -> Iterator[None]:
    with one, other:
        yield

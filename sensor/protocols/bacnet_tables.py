"""Codes and names of BACnet, and which verb of `event.action` each service is.

Source: ANSI/ASHRAE 135-2020: clause 21 (application), 6.2 (network layer), annex J.2 (BACnet/IP). Names are those of
the standard.
"""

from __future__ import annotations

from sensor.operations import Verb

# BVLL functions, annex J.2
(RESULT, WRITE_BDT, READ_BDT, READ_BDT_ACK, FORWARDED, REGISTER_FOREIGN_DEVICE, READ_FDT, READ_FDT_ACK,
 DELETE_FDT_ENTRY, DISTRIBUTE_BROADCAST, ORIGINAL_UNICAST, ORIGINAL_BROADCAST, SECURE_BVLL) = range(13)  # fmt: skip
BVLL: dict[int, tuple[str, Verb]] = {
    RESULT: ("bvlc-result", Verb.SESSION),
    WRITE_BDT: ("write-broadcast-distribution-table", Verb.CONFIGURE),
    READ_BDT: ("read-broadcast-distribution-table", Verb.IDENTIFY),
    READ_BDT_ACK: ("read-broadcast-distribution-table-ack", Verb.IDENTIFY),
    FORWARDED: ("forwarded-npdu", Verb.UNKNOWN),  # these four carry what the verb is of
    REGISTER_FOREIGN_DEVICE: ("register-foreign-device", Verb.SESSION),
    READ_FDT: ("read-foreign-device-table", Verb.IDENTIFY),
    READ_FDT_ACK: ("read-foreign-device-table-ack", Verb.IDENTIFY),
    DELETE_FDT_ENTRY: ("delete-foreign-device-table-entry", Verb.CONFIGURE),
    DISTRIBUTE_BROADCAST: ("distribute-broadcast-to-network", Verb.UNKNOWN),
    ORIGINAL_UNICAST: ("original-unicast-npdu", Verb.UNKNOWN),
    ORIGINAL_BROADCAST: ("original-broadcast-npdu", Verb.UNKNOWN),
    SECURE_BVLL: ("secure-bvll", Verb.UNKNOWN),
}
BVLL_RESULTS: dict[int, str] = {
    0x0000: "successful-completion",
    0x0010: "write-broadcast-distribution-table-nak",
    0x0020: "read-broadcast-distribution-table-nak",
    0x0030: "register-foreign-device-nak",
    0x0040: "read-foreign-device-table-nak",
    0x0050: "delete-foreign-device-table-entry-nak",
    0x0060: "distribute-broadcast-to-network-nak",
}

NETWORK_MESSAGES: dict[int, tuple[str, Verb]] = {  # 6.2.4
    0x00: ("who-is-router-to-network", Verb.IDENTIFY),
    0x01: ("i-am-router-to-network", Verb.REPORT),
    0x02: ("i-could-be-router-to-network", Verb.REPORT),
    0x03: ("reject-message-to-network", Verb.REPORT),
    0x04: ("router-busy-to-network", Verb.REPORT),
    0x05: ("router-available-to-network", Verb.REPORT),
    0x06: ("initialize-routing-table", Verb.CONFIGURE),
    0x07: ("initialize-routing-table-ack", Verb.CONFIGURE),
    0x08: ("establish-connection-to-network", Verb.CONFIGURE),
    0x09: ("disconnect-connection-to-network", Verb.CONFIGURE),
    0x0A: ("challenge-request", Verb.AUTHENTICATE),
    0x0B: ("security-payload", Verb.UNKNOWN),
    0x0C: ("security-response", Verb.AUTHENTICATE),
    0x0D: ("request-key-update", Verb.AUTHENTICATE),
    0x0E: ("update-key-set", Verb.CONFIGURE),
    0x0F: ("update-distribution-key", Verb.CONFIGURE),
    0x10: ("request-master-key", Verb.AUTHENTICATE),
    0x11: ("set-master-key", Verb.CONFIGURE),
    0x12: ("what-is-network-number", Verb.IDENTIFY),
    0x13: ("network-number-is", Verb.REPORT),
}
PRIORITIES = ("normal", "urgent", "critical-equipment", "life-safety")

(CONFIRMED_REQUEST, UNCONFIRMED_REQUEST, SIMPLE_ACK, COMPLEX_ACK, SEGMENT_ACK, ERROR, REJECT, ABORT) = range(8)
APDU_TYPES = ("confirmed-request", "unconfirmed-request", "simple-ack", "complex-ack", "segment-ack", "error", "reject",
              "abort")  # fmt: skip

ACKNOWLEDGE_ALARM, CONFIRMED_COV, CONFIRMED_EVENT, SUBSCRIBE_COV = 0, 1, 2, 5
ATOMIC_READ_FILE, ATOMIC_WRITE_FILE, ADD_LIST_ELEMENT, REMOVE_LIST_ELEMENT, CREATE_OBJECT, DELETE_OBJECT = range(6, 12)
READ_PROPERTY, READ_PROPERTY_MULTIPLE, WRITE_PROPERTY, WRITE_PROPERTY_MULTIPLE = 12, 14, 15, 16
DEVICE_COMMUNICATION_CONTROL, PRIVATE_TRANSFER, REINITIALIZE_DEVICE = 17, 18, 20
READ_RANGE, LIFE_SAFETY_OPERATION, SUBSCRIBE_COV_PROPERTY = 26, 27, 28
CONFIRMED: dict[int, tuple[str, Verb]] = {
    0: ("acknowledgeAlarm", Verb.WRITE),
    1: ("confirmedCOVNotification", Verb.REPORT),
    2: ("confirmedEventNotification", Verb.REPORT),
    3: ("getAlarmSummary", Verb.READ),
    4: ("getEnrollmentSummary", Verb.READ),
    5: ("subscribeCOV", Verb.REPORT),
    6: ("atomicReadFile", Verb.FILE),
    7: ("atomicWriteFile", Verb.FILE),
    8: ("addListElement", Verb.WRITE),
    9: ("removeListElement", Verb.WRITE),
    10: ("createObject", Verb.CONFIGURE),
    11: ("deleteObject", Verb.CONFIGURE),
    12: ("readProperty", Verb.READ),
    13: ("readPropertyConditional", Verb.READ),
    14: ("readPropertyMultiple", Verb.READ),
    15: ("writeProperty", Verb.WRITE),  # of an output's present value: COMMAND
    16: ("writePropertyMultiple", Verb.WRITE),
    17: ("deviceCommunicationControl", Verb.SILENCE),  # CONFIGURE where it takes the silence back
    18: ("confirmedPrivateTransfer", Verb.UNKNOWN),
    19: ("confirmedTextMessage", Verb.REPORT),
    20: ("reinitializeDevice", Verb.RESTART),  # or a backup or restore: see REINITIALIZE_VERBS
    21: ("vtOpen", Verb.SESSION),
    22: ("vtClose", Verb.SESSION),
    23: ("vtData", Verb.SESSION),
    24: ("authenticate", Verb.AUTHENTICATE),
    25: ("requestKey", Verb.AUTHENTICATE),
    26: ("readRange", Verb.READ),
    27: ("lifeSafetyOperation", Verb.COMMAND),
    28: ("subscribeCOVProperty", Verb.REPORT),
    29: ("getEventInformation", Verb.READ),
    30: ("subscribeCOVPropertyMultiple", Verb.REPORT),
    31: ("confirmedCOVNotificationMultiple", Verb.REPORT),
    32: ("confirmedAuditNotification", Verb.REPORT),
    33: ("auditLogQuery", Verb.READ),
}
I_AM, I_HAVE, UNCONFIRMED_COV, UNCONFIRMED_EVENT, UNCONFIRMED_PRIVATE_TRANSFER = range(5)
TIME_SYNCHRONIZATION, WHO_HAS, WHO_IS, UTC_TIME_SYNCHRONIZATION, WRITE_GROUP = 6, 7, 8, 9, 10
UNCONFIRMED: dict[int, tuple[str, Verb]] = {
    0: ("i-Am", Verb.REPORT),
    1: ("i-Have", Verb.REPORT),
    2: ("unconfirmedCOVNotification", Verb.REPORT),
    3: ("unconfirmedEventNotification", Verb.REPORT),
    4: ("unconfirmedPrivateTransfer", Verb.UNKNOWN),
    5: ("unconfirmedTextMessage", Verb.REPORT),
    6: ("timeSynchronization", Verb.TIME_SET),
    7: ("who-Has", Verb.IDENTIFY),
    8: ("who-Is", Verb.IDENTIFY),
    9: ("utcTimeSynchronization", Verb.TIME_SET),
    10: ("writeGroup", Verb.COMMAND),
    11: ("unconfirmedCOVNotificationMultiple", Verb.REPORT),
    12: ("unconfirmedAuditNotification", Verb.REPORT),
    13: ("who-Am-I", Verb.IDENTIFY),
    14: ("you-Are", Verb.CONFIGURE),
}
SPOKEN_UNASKED = (0, 1, 2, 3, 5, 11, 12)  # unconfirmed services by which a device tells something

REINITIALIZE_STATES = ("coldstart", "warmstart", "startbackup", "endbackup", "startrestore", "endrestore",
                       "abortrestore", "activate-changes")  # fmt: skip
REINITIALIZE_VERBS = (Verb.RESTART, Verb.RESTART, Verb.PROGRAM_UP, Verb.PROGRAM_UP, Verb.PROGRAM_DOWN,
                      Verb.PROGRAM_DOWN, Verb.PROGRAM_DOWN, Verb.CONFIGURE)  # fmt: skip
COMMUNICATION_STATES = ("enable", "disable", "disable-initiation")
SEGMENTATION = ("segmented-both", "segmented-transmit", "segmented-receive", "no-segmentation")

OBJECT_TYPES: dict[int, str] = dict(enumerate((
    "analog-input", "analog-output", "analog-value", "binary-input", "binary-output", "binary-value", "calendar",
    "command", "device", "event-enrollment", "file", "group", "loop", "multi-state-input", "multi-state-output",
    "notification-class", "program", "schedule", "averaging", "multi-state-value", "trend-log", "life-safety-point",
    "life-safety-zone", "accumulator", "pulse-converter", "event-log", "global-group", "trend-log-multiple",
    "load-control", "structured-view", "access-door", "timer", "access-credential", "access-point", "access-rights",
    "access-user", "access-zone", "credential-data-input", "network-security", "bitstring-value",
    "characterstring-value", "datepattern-value", "date-value", "datetimepattern-value", "datetime-value",
    "integer-value", "large-analog-value", "octetstring-value", "positive-integer-value", "timepattern-value",
    "time-value", "notification-forwarder", "alert-enrollment", "channel", "lighting-output", "binary-lighting-output",
    "network-port", "elevator-group", "escalator", "lift", "staging", "audit-log", "audit-reporter", "color",
    "color-temperature",
)))  # fmt: skip
OUTPUTS = frozenset({1, 4, 14, 30, 53, 54, 55})  # objects whose present value moves something
PRESENT_VALUE, OUT_OF_SERVICE = 85, 81

PROPERTIES: dict[int, str] = {
    1: "ack-required", 4: "active-text", 8: "all", 10: "apdu-segment-timeout", 11: "apdu-timeout",
    12: "application-software-version", 17: "notification-class", 22: "cov-increment", 23: "date-list",
    24: "daylight-savings-status", 25: "deadband", 28: "description", 29: "description-of-halt",
    30: "device-address-binding", 31: "device-type", 35: "event-enable", 36: "event-state", 37: "event-type",
    38: "exception-schedule", 41: "file-access-method", 42: "file-size", 43: "file-type", 44: "firmware-revision",
    45: "high-limit", 46: "inactive-text", 52: "limit-enable", 54: "list-of-object-property-references",
    56: "local-date", 57: "local-time", 58: "location", 59: "low-limit", 62: "max-apdu-length-accepted",
    63: "max-info-frames", 64: "max-master", 65: "max-pres-value", 66: "minimum-off-time", 67: "minimum-on-time",
    69: "min-pres-value", 70: "model-name", 72: "notify-type", 73: "number-of-apdu-retries", 74: "number-of-states",
    75: "object-identifier", 76: "object-list", 77: "object-name", 79: "object-type", 80: "optional",
    81: "out-of-service", 83: "event-parameters", 84: "polarity", 85: "present-value", 86: "priority",
    87: "priority-array", 88: "priority-for-writing", 90: "program-change", 92: "program-state",
    96: "protocol-object-types-supported", 97: "protocol-services-supported", 98: "protocol-version",
    102: "recipient-list", 103: "reliability", 104: "relinquish-default", 105: "required", 106: "resolution",
    107: "segmentation-supported", 108: "setpoint", 110: "state-text", 111: "status-flags", 112: "system-status",
    113: "time-delay", 116: "time-synchronization-recipients", 117: "units", 119: "utc-offset",
    120: "vendor-identifier", 121: "vendor-name", 123: "weekly-schedule", 131: "log-buffer", 133: "enable",
    139: "protocol-revision", 141: "record-count", 144: "stop-when-full", 145: "total-record-count",
    152: "active-cov-subscriptions", 153: "backup-failure-timeout", 154: "configuration-files",
    155: "database-revision", 157: "last-restore-time", 160: "mode", 167: "max-segments-accepted",
    168: "profile-name", 170: "manual-slave-address-binding", 196: "last-restart-reason",
    202: "restart-notification-recipients", 203: "time-of-device-restart", 209: "structured-object-list",
    233: "lock-status", 338: "backup-and-restore-state", 371: "property-list", 372: "serial-number",
}  # fmt: skip

ERROR_CLASSES = ("device", "object", "property", "resources", "security", "services", "vt", "communication")
ERROR_CODES: dict[int, str] = {
    0: "other", 1: "authentication-failed", 2: "configuration-in-progress", 3: "device-busy",
    4: "dynamic-creation-not-supported", 5: "file-access-denied", 7: "inconsistent-parameters",
    9: "invalid-data-type", 10: "invalid-file-access-method", 11: "invalid-file-start-position",
    13: "invalid-parameter-data-type", 14: "invalid-time-stamp", 16: "missing-required-parameter",
    17: "no-objects-of-specified-type", 18: "no-space-for-object", 19: "no-space-to-add-list-element",
    20: "no-space-to-write-property", 21: "no-vt-sessions-available", 22: "property-is-not-a-list",
    23: "object-deletion-not-permitted", 24: "object-identifier-already-exists", 25: "operational-problem",
    26: "password-failure", 27: "read-access-denied", 28: "security-not-supported", 29: "service-request-denied",
    30: "timeout", 31: "unknown-object", 32: "unknown-property", 34: "unknown-vt-class", 35: "unknown-vt-session",
    36: "unsupported-object-type", 37: "value-out-of-range", 40: "write-access-denied", 42: "invalid-array-index",
    43: "cov-subscription-failed", 44: "not-cov-property", 45: "optional-functionality-not-supported",
    46: "invalid-configuration-data", 47: "datatype-not-supported", 48: "duplicate-name", 49: "duplicate-object-id",
    50: "property-is-not-an-array", 70: "unknown-device", 71: "unknown-route", 72: "value-not-initialized",
    73: "invalid-event-state", 74: "no-alarm-configured", 75: "log-buffer-full", 79: "unknown-subscription",
    81: "list-element-not-found", 82: "busy", 83: "communication-disabled", 84: "success", 85: "access-denied",
    110: "not-router-to-dnet", 111: "router-busy", 128: "file-full", 131: "internal-error", 132: "not-configured",
    133: "out-of-memory", 134: "value-too-long",
}  # fmt: skip
UNRECOGNIZED_SERVICE = 9
REJECT_REASONS = ("other", "buffer-overflow", "inconsistent-parameters", "invalid-parameter-data-type", "invalid-tag",
                  "missing-required-parameter", "parameter-out-of-range", "too-many-arguments",
                  "undefined-enumeration", "unrecognized-service")  # fmt: skip
ABORT_REASONS = ("other", "buffer-overflow", "invalid-apdu-in-this-state", "preempted-by-higher-priority-task",
                 "segmentation-not-supported", "security-error", "insufficient-security",
                 "window-size-out-of-range", "application-exceeded-reply-time", "out-of-resources", "tsm-timeout",
                 "apdu-too-long")  # fmt: skip


def object_type(number: int) -> str:
    """Name of an object type; from 128 on they are the vendor's."""
    return OBJECT_TYPES.get(number, f"vendor-{number}" if number >= 128 else f"type-{number}")


def object_name(identifier: int) -> str:
    """An object identifier in words: analog-output,3 (22 bits of instance, 10 of type)."""
    return f"{object_type(identifier >> 22 & 0x3FF)},{identifier & 0x3FFFFF}"


def property_name(number: int) -> str:
    """Name of a property, its number where it has none here."""
    return PROPERTIES.get(number, str(number))


def nth(names: tuple[str, ...], number: int) -> str:
    """A name out of a list."""
    return names[number] if 0 <= number < len(names) else "undefined"

"""Codes and names of OPC UA, and which verb of `event.action` each service is.

Sources: OPC 10000-4 (services), 10000-6 (binary encoding ids: annex A; status codes: annex A.2), 10000-3 (attributes).
"""

from __future__ import annotations

from typing import NamedTuple

from sensor.operations import Verb

SERVICE_FAULT = 397
OPEN_SECURE_CHANNEL, CLOSE_SECURE_CHANNEL = 446, 452
GET_ENDPOINTS, FIND_SERVERS, CREATE_SESSION, ACTIVATE_SESSION = 428, 422, 461, 467
ADD_NODES, ADD_REFERENCES, DELETE_NODES, DELETE_REFERENCES = 488, 494, 500, 506
BROWSE, TRANSLATE, READ, HISTORY_READ, WRITE, HISTORY_UPDATE, CALL = 527, 554, 631, 664, 673, 700, 712
CREATE_MONITORED_ITEMS, CREATE_SUBSCRIPTION, PUBLISH = 751, 787, 826


class Service(NamedTuple):
    """A service: encoding ids of its request and its response."""

    request: int
    response: int
    name: str
    verb: Verb


SERVICES: tuple[Service, ...] = (
    Service(FIND_SERVERS, 425, "find_servers", Verb.IDENTIFY),
    Service(12208, 12209, "find_servers_on_network", Verb.IDENTIFY),
    Service(GET_ENDPOINTS, 431, "get_endpoints", Verb.IDENTIFY),
    Service(437, 440, "register_server", Verb.CONFIGURE),
    Service(12211, 12212, "register_server_2", Verb.CONFIGURE),
    Service(OPEN_SECURE_CHANNEL, 449, "open_secure_channel", Verb.SESSION),
    Service(CLOSE_SECURE_CHANNEL, 455, "close_secure_channel", Verb.SESSION),
    Service(CREATE_SESSION, 464, "create_session", Verb.SESSION),
    Service(ACTIVATE_SESSION, 470, "activate_session", Verb.AUTHENTICATE),
    Service(473, 476, "close_session", Verb.SESSION),
    Service(479, 482, "cancel", Verb.SESSION),
    Service(ADD_NODES, 491, "add_nodes", Verb.CONFIGURE),
    Service(ADD_REFERENCES, 497, "add_references", Verb.CONFIGURE),
    Service(DELETE_NODES, 503, "delete_nodes", Verb.CONFIGURE),
    Service(DELETE_REFERENCES, 509, "delete_references", Verb.CONFIGURE),
    Service(BROWSE, 530, "browse", Verb.IDENTIFY),
    Service(533, 536, "browse_next", Verb.IDENTIFY),
    Service(TRANSLATE, 557, "translate_browse_paths", Verb.IDENTIFY),
    Service(560, 563, "register_nodes", Verb.SESSION),
    Service(566, 569, "unregister_nodes", Verb.SESSION),
    Service(615, 618, "query_first", Verb.READ),
    Service(621, 624, "query_next", Verb.READ),
    Service(READ, 634, "read", Verb.READ),
    Service(HISTORY_READ, 667, "history_read", Verb.READ),
    Service(WRITE, 676, "write", Verb.WRITE),  # of another attribute than the value: CONFIGURE
    Service(HISTORY_UPDATE, 703, "history_update", Verb.WRITE),
    Service(CALL, 715, "call", Verb.COMMAND),
    Service(CREATE_MONITORED_ITEMS, 754, "create_monitored_items", Verb.REPORT),
    Service(763, 766, "modify_monitored_items", Verb.REPORT),
    Service(769, 772, "set_monitoring_mode", Verb.REPORT),
    Service(775, 778, "set_triggering", Verb.REPORT),
    Service(781, 784, "delete_monitored_items", Verb.REPORT),
    Service(CREATE_SUBSCRIPTION, 790, "create_subscription", Verb.REPORT),
    Service(793, 796, "modify_subscription", Verb.REPORT),
    Service(799, 802, "set_publishing_mode", Verb.REPORT),
    Service(PUBLISH, 829, "publish", Verb.REPORT),
    Service(832, 835, "republish", Verb.REPORT),
    Service(841, 844, "transfer_subscriptions", Verb.REPORT),
    Service(847, 850, "delete_subscriptions", Verb.REPORT),
    Service(410, 413, "test_stack", Verb.DIAGNOSE),
    Service(416, 419, "test_stack_ex", Verb.DIAGNOSE),
)
BY_REQUEST: dict[int, Service] = {service.request: service for service in SERVICES}
BY_RESPONSE: dict[int, Service] = {service.response: service for service in SERVICES}

VALUE = 13
ATTRIBUTES: dict[int, str] = {  # 10000-6, annex A.1
    1: "NodeId",
    2: "NodeClass",
    3: "BrowseName",
    4: "DisplayName",
    5: "Description",
    6: "WriteMask",
    7: "UserWriteMask",
    8: "IsAbstract",
    9: "Symmetric",
    10: "InverseName",
    11: "ContainsNoLoops",
    12: "EventNotifier",
    13: "Value",
    14: "DataType",
    15: "ValueRank",
    16: "ArrayDimensions",
    17: "AccessLevel",
    18: "UserAccessLevel",
    19: "MinimumSamplingInterval",
    20: "Historizing",
    21: "Executable",
    22: "UserExecutable",
    23: "DataTypeDefinition",
    24: "RolePermissions",
    25: "UserRolePermissions",
    26: "AccessRestrictions",
    27: "AccessLevelEx",
}
SECURITY_MODES: dict[int, str] = {0: "invalid", 1: "none", 2: "sign", 3: "sign_and_encrypt"}
APPLICATION_TYPES: dict[int, str] = {0: "server", 1: "client", 2: "client_and_server", 3: "discovery_server"}
TOKEN_TYPES: dict[int, str] = {0: "anonymous", 1: "user_name", 2: "certificate", 3: "issued_token"}
IDENTITY_TOKENS: dict[int, str] = {321: "anonymous", 324: "user_name", 327: "certificate", 940: "issued_token"}

STATUS: dict[int, str] = {  # high half of the code
    0x0000: "Good",
    0x002D: "GoodSubscriptionTransferred",
    0x002E: "GoodCompletesAsynchronously",
    0x0030: "GoodClamped",
    0x4000: "Uncertain",
    0x8000: "Bad",
    0x8001: "BadUnexpectedError",
    0x8002: "BadInternalError",
    0x8003: "BadOutOfMemory",
    0x8004: "BadResourceUnavailable",
    0x8005: "BadCommunicationError",
    0x8006: "BadEncodingError",
    0x8007: "BadDecodingError",
    0x8008: "BadEncodingLimitsExceeded",
    0x800A: "BadTimeout",
    0x800B: "BadServiceUnsupported",
    0x800C: "BadShutdown",
    0x800D: "BadServerNotConnected",
    0x800E: "BadServerHalted",
    0x800F: "BadNothingToDo",
    0x8010: "BadTooManyOperations",
    0x8011: "BadDataTypeIdUnknown",
    0x8012: "BadCertificateInvalid",
    0x8013: "BadSecurityChecksFailed",
    0x8014: "BadCertificateTimeInvalid",
    0x8016: "BadCertificateHostNameInvalid",
    0x8017: "BadCertificateUriInvalid",
    0x8018: "BadCertificateUseNotAllowed",
    0x801A: "BadCertificateUntrusted",
    0x801D: "BadCertificateRevoked",
    0x801F: "BadUserAccessDenied",
    0x8020: "BadIdentityTokenInvalid",
    0x8021: "BadIdentityTokenRejected",
    0x8022: "BadSecureChannelIdInvalid",
    0x8023: "BadInvalidTimestamp",
    0x8024: "BadNonceInvalid",
    0x8025: "BadSessionIdInvalid",
    0x8026: "BadSessionClosed",
    0x8027: "BadSessionNotActivated",
    0x8028: "BadSubscriptionIdInvalid",
    0x802A: "BadRequestHeaderInvalid",
    0x802C: "BadRequestCancelledByClient",
    0x8031: "BadNoCommunication",
    0x8032: "BadWaitingForInitialData",
    0x8033: "BadNodeIdInvalid",
    0x8034: "BadNodeIdUnknown",
    0x8035: "BadAttributeIdInvalid",
    0x8036: "BadIndexRangeInvalid",
    0x8037: "BadIndexRangeNoData",
    0x8038: "BadDataEncodingInvalid",
    0x803A: "BadNotReadable",
    0x803B: "BadNotWritable",
    0x803C: "BadOutOfRange",
    0x803D: "BadNotSupported",
    0x803E: "BadNotFound",
    0x803F: "BadObjectDeleted",
    0x8040: "BadNotImplemented",
    0x804A: "BadContinuationPointInvalid",
    0x804B: "BadNoContinuationPoints",
    0x8054: "BadSecurityModeRejected",
    0x8055: "BadSecurityPolicyRejected",
    0x8056: "BadTooManySessions",
    0x8057: "BadUserSignatureInvalid",
    0x8058: "BadApplicationSignatureInvalid",
    0x805B: "BadParentNodeIdInvalid",
    0x805C: "BadReferenceNotAllowed",
    0x805D: "BadNodeIdRejected",
    0x805E: "BadNodeIdExists",
    0x805F: "BadNodeClassInvalid",
    0x8060: "BadBrowseNameInvalid",
    0x8061: "BadBrowseNameDuplicated",
    0x8069: "BadNoDeleteRights",
    0x806B: "BadViewIdUnknown",
    0x8073: "BadWriteNotSupported",
    0x8074: "BadTypeMismatch",
    0x8075: "BadMethodInvalid",
    0x8076: "BadArgumentsMissing",
    0x8077: "BadTooManySubscriptions",
    0x8078: "BadTooManyPublishRequests",
    0x8079: "BadNoSubscription",
    0x807A: "BadSequenceNumberUnknown",
    0x807B: "BadMessageNotAvailable",
    0x807D: "BadTcpServerTooBusy",
    0x807E: "BadTcpMessageTypeInvalid",
    0x807F: "BadTcpSecureChannelUnknown",
    0x8080: "BadTcpMessageTooLarge",
    0x8081: "BadTcpNotEnoughResources",
    0x80AB: "BadInvalidArgument",
    0x80AC: "BadConnectionRejected",
    0x80AE: "BadConnectionClosed",
    0x80AF: "BadInvalidState",
    0x80B8: "BadRequestTooLarge",
    0x80B9: "BadResponseTooLarge",
    0x80E5: "BadTooManyArguments",
    0x80E6: "BadSecurityModeInsufficient",
    0x80EE: "BadServerTooBusy",
    0x8111: "BadNotExecutable",
}


def status_name(code: int) -> str:
    """Name of a status code; its class where the code is not known."""
    high = code >> 16 & 0xFFFF
    return STATUS.get(high, ("Good", "Uncertain", "Bad", "Bad")[high >> 14])

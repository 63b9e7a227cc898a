# SPDX-License-Identifier: Apache-2.0
"""
Decide what a response that is not a success says, from its HTTP status, its ``code`` and the words of its ``msg``.

GoEnhance publishes no list of codes and messages. What decides is what a mistake would cost: a submit is called
declined, or free to be sent again, only where the response says so; otherwise its outcome is unknown. A job is called
not found only where the response says that about a job.
"""

from __future__ import annotations

import enum
import re


class Refusal(enum.Enum):
    """What a response that is not a success says."""

    TOKEN = "token"  # noqa: S105  #: The API token was refused.
    CREDITS = "credits"  #: The account is out of credits.
    RATE = "rate"  #: Too many requests.
    BUSY = "busy"  #: Refused for a reason that passes, and that has nothing to do with the pair.
    UNKNOWN = "unknown"  #: A server fault or time-out: the request may have been carried out.
    DECLINED = "declined"  #: This very request was declined.
    NO_SUCH_JOB = "no_such_job"  #: GoEnhance does not know the job.


#: In an HTTP 4xx response the vendor's own code may be more specific than the status.
_TELLING_CODES = frozenset({401, 402, 403, 429})
#: Statuses and codes that leave open whether the request was carried out. 409: it was sent before.
_OPEN = frozenset({408, 409, 444, 460, 499})
#: Statuses and codes about the endpoint or the moment, not about the pair: a wrong path or deployment, a lock.
_ENDPOINT = frozenset({404, 405, 406, 410, 411, 415, 417, 421, 423, 425, 426, 428, 431})
#: Statuses that decline the very request.
_DECLINING = frozenset({400, 402, 413, 414, 416, 422, 451})
#: Longer messages are cut before they are searched.
_LONGEST_MSG = 600

# The words must be close together, so that "no face found; credits returned" does not stop a whole batch.
_OUT_OF_CREDITS = re.compile(
    r"\b(insufficient|not enough|no|no more|out of|run out of)\s+(\w+\s+)?(credits?|balance)\b"
    r"|\b(insufficient|not enough)\s+(\w+\s+)?(tokens?|quota)\b|\bquota\s+(\w+\s+)?(insufficient|not enough)\b"
    r"|\b(credits?|balance)\s+(\w+\s+){0,2}(insufficient|not enough|too low|exhausted|run out|ran out|used up)\b"
    r"|(余额|积分|点数|额度)不足|欠费"
)
# Only where nothing else in the message is about a picture: "upgrade your plan to use images above 5 MB".
_PAYMENT = re.compile(
    r"\b(recharge|top ?up|payment required)\b"
    r"|\b(subscription|membership|plan|package|trial) (\w+ ){0,2}(expired|required|ended|inactive|over)\b"
    r"|\bupgrade (to|your) (\w+ )?(plan|subscription)\b"
)
_KEY = r"(tokens?|api ?keys?|access ?keys?|credentials?)"
_BAD_KEY = re.compile(
    rf"\b{_KEY} (\w+ ){{0,3}}(error|invalid|not valid|expired|incorrect|wrong|revoked|missing|required)\b"
    rf"|\b(invalid|expired|incorrect|wrong|revoked|missing|bad) (\w+ )?{_KEY}\b"
    r"|\bunauthori[sz]ed\b|\bnot authori[sz]ed\b|\bauthenticat\w+ (failed|required|error)|\bnot logged in\b"
    r"|\bno permission to (use|call|access) (this |the )?(api|endpoint|service|feature)\b"
    r"|\bip (\w+ ){0,4}(white|allow) ?list"
    r"|\baccount (\w+ ){0,3}(frozen|suspended|disabled|banned|locked|deactivated)\b"
    r"|(token|密钥|令牌) ?(无效|错误|已?过期)|未授权|未登录|(鉴权|认证)失败"
)
_DUPLICATE = re.compile(
    r"\bduplicated?\b|already (exists?|submitted|been submitted|processing|being processed|in progress|accepted)"
    r"|repeat(ed)? (submi|request)|submit(ted)? (repeatedly|twice)|idempoten"
)
_TIMEOUT = re.compile(
    r"\btime ?d? ?out|\btimeout|deadline exceeded|(context|request) cancell?ed|connection \w*\s?(reset|refused|closed)"
    r"|broken pipe|\beof\b|upstream|gateway|no response|超时"
)
# The service says that it does not take requests now.
_OVERLOADED = re.compile(
    r"\bbusy\b|maintenance|maintain|\bupgrading\b|overload|at capacity|too many (concurrent |pending )?"
    r"(requests|tasks|jobs|connections|users)|throttl|rate limit|too frequent|frequency|too fast|slow down"
    r"|queue (is )?full|\bmax(imum)? concurren|\bno (\w+ )?(workers?|gpus?|servers?|nodes?|slots?)\b"
    r"|concurren\w* (\w+ )?(limit|exceed)|繁忙|维护|频繁|请求过多|限流"
    r"|\b(daily|hourly|weekly|monthly|usage|generation|api|plan|user|account) (\w+ )?(limit|quota)\b"
    r"|\bquota (\w+ ){0,2}(exceed|reached|used|exhaust)|\b(exceed\w*|reached|over) (\w+ ){0,2}quota\b"
)
_UNAVAILABLE = re.compile(r"\bunavailable|\bnot available|\bis down\b|稍后")
# Words of a success, or of a job that waits, in a response without an `img_uuid`: the submit may have been accepted.
_ACCEPTED = re.compile(
    r"\b(ok|okay|success(ful(ly)?)?|accepted|created|submitted|received|queue[ds]?|queue?ing|pending|processing"
    r"|started|running)\b|成功|已提交|已接收|排队中|处理中"
)
_NEGATED = re.compile(
    r"\b(not|no|non|never|without|cannot|unable|fail\w*|invalid|wrong|refused|rejected|declined|denied|error\w*|un\w+ed"
    r"|must|only)\b|n't\b|失败|错误|拒绝|不"
)
_LATER = re.compile(
    r"\blater\b|temporar|try (it )?again (soon|shortly|in\b)|please wait|a (moment|minute)\b|not ready"
)
_INTERNAL = re.compile(
    r"\binternal|(server|system|service|unknown|unexpected|unhandled) (error|failure)|exception|\bpanic"
    r"|database|\bdb\b|\bsql\b|redis|(nil|null) pointer|went wrong|fail\w* to (save|store|create|enqueue|insert|write)"
)
# Not about a picture: the product's name, and parts of the service.
_SERVICE_NAME = re.compile(
    r"(image |video )?face ?swap\w*|\bimages? (api|service|server|generation|model|endpoint)s?\b"
)
_PICTURE = r"(source|reference|target|input|images?|imgs?|pictures?|photos?|urls?|links?)"
_FETCH = re.compile(
    rf"\b(fetch|download|load|access|read|retriev|open|reach)\w*\b(\W+\w+){{0,5}}\W+{_PICTURE}\b"
    rf"|\b{_PICTURE}\b(\W+\w+){{0,5}}\W+(inaccessible|unreachable"
    r"|(not |be )\w*(access|reach|fetch|download|load|read|open)\w*)"
)
_ABOUT_RESULT = re.compile(r"\b(result|output|upload|stor(e|age)|save)\b")
_DEFECT = re.compile(
    r"\bfaces?\b|nsfw|nud(e|ity)|porn|sexual|explicit|violen|sensitive|moderat|content polic|prohibited|illegal"
    r"|celebrit|\bminors?\b|child|copyright|blurr|corrupt|resolution|dimension|pixel|aspect ratio"
    r"|too (large|small|big|long)|\b(file|image) size|unsupported|not supported|\bformat\b"
    r"|(source|reference|target) im(g|age)|forbidden (url|image|picture|content|domain)"
    r"|invalid (url|image|picture|param|argument)"
)
_NOUN = re.compile(r"\b(images?|imgs?|pictures?|photos?|urls?|content|param(eter)?s?|arguments?|args)\b")
_AUTH = re.compile(
    r"token|\bkeys?\b|apikey|permission|\bauth|unauthor|credential|account|subscri|\bplan\b|log ?in|sign ?in|\bip\b"
    r"|whitelist|allowlist|suspend|disabled|banned"
)
_JUST_FORBIDDEN = re.compile(
    r"\W*((http|error|status|code|403|access|request|forbidden|denied|refused|not|allowed|is|was|the)\W*)*"
)

# "The task with id 12 was not found": between the noun and the verdict only such words may stand. These patterns are
# searched in a text of plain words, with every word that contains a digit replaced by "id".
_FILLER = (
    r"(?: (?:with|of|the|this|that|a|an|your|ids?|uuid|given|specified|requested|for|is|was|are|were|be|been|has|have"
    r"|had|does|do|did|could|can))* "
)
_MISSING = (
    r"(?:not found|not be found|cannot be found|can'?t be found|couldn'?t be found|not exist\w*|doesn'?t exist"
    r"|don'?t exist|didn'?t exist|no longer exists?|unknown|not known|non ?existent)\b"
)
_JOB = r"(?:jobs?|tasks?|generations?|img uuid|(?<!user )(?<!model )(?<!account )(?:uuid|records?))"
_NO_SUCH = (
    r"\b(?:no such|unknown|non ?existent|not found|no|(?:can ?not|can'?t|couldn'?t|could not|did not|didn'?t|unable to"
    r"|failed to) find)"
)
_NOT_A_JOB = (
    r"(?! (?:types?|models?|kinds?|stat\w+|errors?|categor\w+|queues?|servers?|services?|handlers?|routes?|runners?"
    r"|workers?|images?|pictures?|results?|outputs?|templates?|param\w*|fields?|provided|given)\b)"
)
_JOB_NOT_FOUND = re.compile(rf"\b{_JOB}{_FILLER}{_MISSING}|{_NO_SUCH}{_FILLER}{_JOB}\b{_NOT_A_JOB}")
_ELSE = (
    r"(?:routes?|paths?|pages?|endpoints?|urls?|uri|handlers?|apis?|methods?|models?|users?|accounts?|tenants?|hosts?|sites?"
    r"|domains?|services?|servers?|upstream|backend|versions?|apps?|applications?|projects?|interfaces?|controllers?"
    r"|actions?|images?|pictures?|photos?|files?|faces?|templates?|tokens?|keys?|queues?|workers?|nodes?|clusters?"
    r"|databases?|tables?|buckets?|functions?|deployments?|instances?|gateways?|zones?|certificates?|listeners?)"
)
_ELSE_NOT_FOUND = re.compile(
    rf"\b{_ELSE}{_FILLER}{_MISSING}|{_NO_SUCH}{_FILLER}{_ELSE}\b|\bcannot (?:get|post)\b|\bno route\b"
    r"|\bdefault backend\b"
)
# Not said of a job, whatever else is said.
_PASSES = re.compile(rf"{_OVERLOADED.pattern}|{_UNAVAILABLE.pattern}|{_LATER.pattern}")


def _normalized(msg: str) -> str:
    """Return the words in lower case: ``JobNotFound`` and ``job_not_found`` as ``job not found``."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", msg[:_LONGEST_MSG])
    return re.sub(r"[\s_]+", " ", words.replace("\u2019", "'")).casefold()


def _plain(words: str) -> str:
    """Return the words alone: without punctuation, and with ``id`` for each word that contains a digit."""
    found = (word.strip("'") for word in re.findall(r"[\w'-]+", words))
    return " ".join("id" if re.search(r"\d", word) else word.replace("-", " ") for word in found)


def _is_server_fault(number: int | None) -> bool:
    # Vendor codes above the range of HTTP statuses are business codes, not server faults.
    return number is not None and 500 <= number < 600


def _is_refused_503(number: int, words: str) -> bool:
    # Only an explicit refusal counts: a 503 without one may be a time-out of the request itself.
    return bool(number == 503 and _OVERLOADED.search(words) and not _TIMEOUT.search(words))


def refusal_of(status: int, code: int | None, msg: str, *, paid: bool = False) -> Refusal:
    """
    Return what a response that is not a success says.

    :param status: HTTP status
    :param code: the vendor's ``code``
    :param msg: the vendor's ``msg``
    :param paid: whether it answers a submit
    """
    words = _normalized(msg)
    if status >= 500:
        return Refusal.BUSY if paid and _is_refused_503(status, words) else Refusal.UNKNOWN
    number = status if status >= 400 and code not in _TELLING_CODES else code
    if number == 401:
        return Refusal.TOKEN
    if number == 429:
        return Refusal.RATE
    if number == 402 or (not _is_server_fault(number) and _OUT_OF_CREDITS.search(words)):
        return Refusal.CREDITS
    numbers = frozenset(filter(None, (status if status >= 400 else None, code)))
    return _of_submit(numbers, words) if paid else _of_free_call(numbers, words)


def says_job_not_found(msg: str) -> bool:
    """Return whether a message says that a job is not found, does not exist or is unknown."""
    words = _normalized(msg)
    return bool(_JOB_NOT_FOUND.search(_plain(words))) and not _PASSES.search(words)


def _is_job_not_found(numbers: frozenset[int], plain: str) -> bool:
    if 404 in numbers and not _ELSE_NOT_FOUND.search(plain):
        return True
    return 403 not in numbers and bool(_JOB_NOT_FOUND.search(plain))


def _of_free_call(numbers: frozenset[int], words: str) -> Refusal:
    plain, passes = _plain(words), _PASSES.search(words)
    if not numbers & _OPEN and not passes and _is_job_not_found(numbers, plain):
        return Refusal.NO_SUCH_JOB
    about_job = re.search(rf"\b{_JOB}\b", plain)
    if 403 in numbers and not about_job and (_AUTH.search(words) or _JUST_FORBIDDEN.fullmatch(words)):
        return Refusal.TOKEN
    if passes:
        return Refusal.BUSY
    if numbers & _OPEN or any(map(_is_server_fault, numbers)) or _TIMEOUT.search(words):
        return Refusal.UNKNOWN
    return Refusal.DECLINED


def _of_submit(numbers: frozenset[int], words: str) -> Refusal:
    words = _SERVICE_NAME.sub(" ", words)
    if numbers & _OPEN or _DUPLICATE.search(words):
        return Refusal.UNKNOWN
    if any(map(_is_server_fault, numbers)):
        refused = any(_is_refused_503(number, words) for number in numbers)
        return Refusal.BUSY if refused else Refusal.UNKNOWN
    if _FETCH.search(words) and not _ABOUT_RESULT.search(words):
        return Refusal.DECLINED
    if _TIMEOUT.search(words):
        return Refusal.UNKNOWN
    if _OVERLOADED.search(words) or _UNAVAILABLE.search(words):
        return Refusal.BUSY
    if _DEFECT.search(words):
        return Refusal.DECLINED
    if refusal := _of_every_pair(words):
        return refusal
    return _of_forbidden(words) if 403 in numbers else _of_other_words(numbers, words)


def _of_every_pair(words: str) -> Refusal | None:
    """Return what a submit's response says of the account: each pair of a batch would be declined, one by one."""
    if _NOUN.search(words):
        return None
    if _PAYMENT.search(words):
        return Refusal.CREDITS
    return Refusal.TOKEN if _BAD_KEY.search(words) else None


def _of_forbidden(words: str) -> Refusal:
    if _AUTH.search(words) or _JUST_FORBIDDEN.fullmatch(words):
        return Refusal.TOKEN
    return Refusal.DECLINED if _NOUN.search(words) else Refusal.BUSY


def _of_other_words(numbers: frozenset[int], words: str) -> Refusal:
    """Return what a submit's response says that names neither a fault, nor the moment, nor a defect of a picture."""
    if numbers & _ENDPOINT:
        return Refusal.DECLINED if _NOUN.search(words) else Refusal.BUSY
    if _LATER.search(words):
        return Refusal.BUSY
    if _INTERNAL.search(words):
        return Refusal.UNKNOWN
    if numbers & _DECLINING:
        return Refusal.DECLINED
    if any(400 <= number < 500 for number in numbers):
        return Refusal.UNKNOWN
    # A `code` inside HTTP 200: without a word about the cause, or with words of a success, it declines nothing.
    accepted = _ACCEPTED.search(words) and not _NEGATED.search(words)
    return Refusal.DECLINED if words.strip() and not accepted else Refusal.UNKNOWN

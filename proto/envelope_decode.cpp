// The decoder: header, then the fields of each type, then the shape of the body.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <type_traits>

#include "proto/envelope.hpp"

namespace headgate::proto {
namespace {

constexpr std::array<std::string_view, 12> kTypeNames = {"?",      "hello", "welcome", "request",
                                                         "data",   "part",  "reply",   "credit",
                                                         "cancel", "ping",  "pong",    "goaway"};
constexpr std::array<std::uint32_t, 12> kFields = {0, 8, 7, 8, 6, 5, 6, 4, 3, 3, 3, 4};
constexpr std::uint32_t kKnownTypes = 11;

bool sent_by(std::uint64_t type, From from) {
  switch (static_cast<FrameType>(type)) {
    case FrameType::hello:
    case FrameType::request:
    case FrameType::data:
    case FrameType::cancel:
      return from == From::client;
    case FrameType::welcome:
    case FrameType::part:
    case FrameType::reply:
    case FrameType::goaway:
      return from == From::daemon;
    default:
      return true;
  }
}

// A name as it may stand in a sentence: not longer than 64 bytes, nothing that is not UTF-8.
struct Shown {
  explicit Shown(std::string_view s) {
    if (!valid_utf8(s)) s = "(not UTF-8)";
    if (s.size() > 64) {
      s = s.substr(0, 64);
      while (!valid_utf8(s)) s.remove_suffix(1);
    }
    std::copy(s.begin(), s.end(), text.begin());
  }
  std::array<char, 65> text{};
};

class Decoder {
 public:
  Decoder(Bytes frame, From from, const Limits& limits)
      : frame_(frame), from_(from), limits_(limits), c_(frame) {}

  tl::expected<Message, Refusal> run();

 private:
  // Each sets refusal_ and returns false.
  [[gnu::format(printf, 3, 4)]] bool refuse(Code code, const char* format, ...);
  bool field(const char* what);  // "<type>: <what>"

  bool header();
  bool text(std::string_view* out, const char* what, std::size_t max, bool may_be_empty = false);
  bool uint(std::uint64_t* out, const char* what, std::uint64_t min, std::uint64_t max);
  bool uint(std::uint32_t* out, const char* what, std::uint64_t min, std::uint64_t max);
  bool boolean(bool* out, const char* what);
  bool body(Bytes* out);
  bool shape(Bytes b, const char* what);

  bool read(Hello* f);
  bool read(Welcome* f);
  bool read(Request* f);
  bool read(Data* f);
  bool read(Part* f);
  bool read(Reply* f);
  bool read(Credit* f);
  bool read(Goaway* f);
  bool read_limits(Limits* out);
  bool read_stores(Bytes* out);
  bool read_options(Options* out);
  bool read_option(std::size_t which, Options* out);

  template <class F>
  tl::expected<Message, Refusal> as() {
    F f{};
    f.id = refusal_.id;
    if (!read(&f)) return tl::make_unexpected(refusal_);
    return Message{f};
  }
  // A frame that ends with its id.
  template <class F>
  tl::expected<Message, Refusal> bare() {
    if (!c_.at_end()) {
      field("bytes after the frame");
      return tl::make_unexpected(refusal_);
    }
    return Message{F{refusal_.id}};
  }

  Bytes frame_;
  From from_;
  const Limits& limits_;
  Cursor c_;
  std::uint32_t fields_ = 0;
  Refusal refusal_{};
};

bool Decoder::refuse(Code code, const char* format, ...) {
  refusal_.code = code;
  std::va_list args;
  va_start(args, format);
  std::vsnprintf(refusal_.text.data(), refusal_.text.size(), format, args);
  va_end(args);
  return false;
}

bool Decoder::field(const char* what) {
  return refuse(Code::invalid, "%s: %s", kTypeNames[refusal_.type].data(), what);
}

bool Decoder::header() {
  refusal_.cut = true;
  const Item array = c_.next();
  if (array.type != Type::array) return refuse(Code::invalid, "a frame is one msgpack array");
  if (array.count < 3) return refuse(Code::invalid, "a frame begins with version, type and id");
  fields_ = array.count;
  const std::uint64_t version = c_.read_uint();
  const std::uint64_t type = c_.read_uint();
  if (!c_.ok())
    return refuse(Code::invalid, "a frame begins with version and type as unsigned integers");
  refusal_.type = type;
  const std::uint64_t id = c_.read_uint();
  if (!c_.ok()) return refuse(Code::invalid, "the id of a frame is an unsigned 64-bit integer");
  refusal_.id = id;
  refusal_.has_id = true;
  const bool known = type >= 1 && type <= kKnownTypes;
  const auto t = static_cast<FrameType>(known ? type : 0);
  const bool hello = t == FrameType::hello && from_ == From::client;
  if (version != kVersion) {
    refusal_.cut = !hello;
    return refuse(Code::unsupported, "frame of protocol version %llu, spoken here: %u",
                  static_cast<unsigned long long>(version), kVersion);
  }
  if (!known) {
    refusal_.cut = false;
    return refuse(Code::unsupported, "unknown frame type %llu",
                  static_cast<unsigned long long>(type));
  }
  if (!sent_by(type, from_))
    return refuse(Code::invalid, "a %s never sends %s", from_ == From::client ? "client" : "daemon",
                  kTypeNames[type].data());
  refusal_.cut = !(hello || t == FrameType::request || t == FrameType::data);
  if (frame_.size() > limits_.message_max)
    return refuse(Code::too_large, "%s: the frame has %zu bytes, at most %llu are taken",
                  kTypeNames[type].data(), frame_.size(),
                  static_cast<unsigned long long>(limits_.message_max));
  if (fields_ != kFields[type])
    return refuse(Code::invalid, "%s: %u fields where %u belong", kTypeNames[type].data(), fields_,
                  kFields[type]);
  return true;
}

bool Decoder::text(std::string_view* out, const char* what, std::size_t max, bool may_be_empty) {
  if (c_.peek() != Type::str) return field(what);
  *out = c_.read_str();
  if (!c_.ok() || out->size() > max || (out->empty() && !may_be_empty) || !valid_utf8(*out))
    return field(what);
  return true;
}

bool Decoder::uint(std::uint64_t* out, const char* what, std::uint64_t min, std::uint64_t max) {
  *out = c_.read_uint();
  if (!c_.ok() || *out < min || *out > max) return field(what);
  return true;
}

bool Decoder::uint(std::uint32_t* out, const char* what, std::uint64_t min, std::uint64_t max) {
  std::uint64_t wide = 0;
  if (!uint(&wide, what, min, std::min<std::uint64_t>(max, UINT32_MAX))) return false;
  *out = static_cast<std::uint32_t>(wide);
  return true;
}

bool Decoder::boolean(bool* out, const char* what) {
  *out = c_.read_bool();
  return c_.ok() || field(what);
}

bool Decoder::shape(Bytes b, const char* what) {
  const auto depth =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(limits_.depth_max, kDepthMax));
  const auto elements =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(limits_.elements_max, UINT32_MAX));
  const Shape s = check(b, depth, elements);
  if (s == Shape::good) return true;
  const bool size = s == Shape::too_deep || s == Shape::too_many;
  return refuse(size ? Code::too_large : Code::invalid, "%s: %s: %s",
                kTypeNames[refusal_.type].data(), what, name(s).data());
}

// The body is the last field, so it ends with the frame.
bool Decoder::body(Bytes* out) {
  *out = {c_.position(), c_.left()};
  return shape(*out, "body");
}

bool Decoder::read(Hello* f) {
  if (f->id == 0) return field("id must not be 0");
  if (!text(&f->name, "name must be a str of 1 to 255 bytes", kNameMax)) return false;
  if (!text(&f->version, "version must be a str of up to 255 bytes", kNameMax, true)) return false;
  if (!uint(&f->proto_min, "proto_min must be an integer from 1", 1, UINT32_MAX)) return false;
  if (!uint(&f->proto_max, "proto_max must be an integer, at least proto_min", f->proto_min,
            UINT32_MAX))
    return false;
  if (!boolean(&f->pongs, "pongs must be a bool")) return false;
  if (!c_.at_end()) return field("bytes after the frame");
  if (f->proto_min > kVersion || f->proto_max < kVersion)
    return refuse(Code::unsupported, "the client speaks protocol %u to %u, this side %u",
                  f->proto_min, f->proto_max, kVersion);
  return true;
}

bool Decoder::read(Welcome* f) {
  return uint(&f->version, "version must be an integer from 1", 1, UINT32_MAX) &&
         read_limits(&f->limits) &&
         uint(&f->heartbeat_ms, "heartbeat_ms must be an integer from 1", 1, UINT32_MAX) &&
         read_stores(&f->stores) && (c_.at_end() || field("bytes after the frame"));
}

bool Decoder::read_limits(Limits* out) {
  struct Known {
    std::string_view name;
    std::uint64_t Limits::*value;
  };
  static constexpr std::array<Known, 9> kKnown = {
      {{"message_max", &Limits::message_max},
       {"reply_max", &Limits::reply_max},
       {"part_max", &Limits::part_max},
       {"depth_max", &Limits::depth_max},
       {"elements_max", &Limits::elements_max},
       {"timeout_ms_max", &Limits::timeout_ms_max},
       {"credit_max", &Limits::credit_max},
       {"fetch_max", &Limits::fetch_max},
       {"calls_per_peer_max", &Limits::calls_per_peer_max}}};
  const std::uint32_t pairs = c_.read_map();
  if (!c_.ok()) return field("limits must be a map");
  for (std::uint32_t i = 0; i < pairs; ++i) {
    const std::string_view key = c_.read_str();
    const std::uint64_t value = c_.read_uint();
    if (!c_.ok()) return field("limits must map names to unsigned integers");
    for (const Known& k : kKnown)
      if (k.name == key) out->*k.value = value;
  }
  return true;
}

bool Decoder::read_stores(Bytes* out) {
  static constexpr auto* kWhat = "stores must be an array of [name, kind, [verb, ...]]";
  const std::uint8_t* begin = c_.position();
  const std::uint32_t stores = c_.read_array();
  std::string_view s;
  for (std::uint32_t i = 0; i < stores && c_.ok(); ++i) {
    if (c_.read_array() != 3) return field(kWhat);
    if (!text(&s, kWhat, kNameMax) || !text(&s, kWhat, kNameMax)) return false;
    const std::uint32_t verbs = c_.read_array();
    for (std::uint32_t v = 0; v < verbs && c_.ok(); ++v)
      if (!text(&s, kWhat, kNameMax)) return false;
  }
  if (!c_.ok()) return field(kWhat);
  *out = {begin, static_cast<std::size_t>(c_.position() - begin)};
  return true;
}

bool Decoder::read(Request* f) {
  if (f->id == 0) return field("id must not be 0");
  if (!uint(&f->sent_us, "sent_us must be an unsigned integer", 0, UINT64_MAX)) return false;
  if (!text(&f->store, "store must be a str of 1 to 255 bytes", kNameMax)) return false;
  if (!text(&f->verb, "verb must be a str of 1 to 255 bytes", kNameMax)) return false;
  if (!read_options(&f->options)) return false;
  if (c_.peek() != Type::map && !c_.at_end()) return field("body must be a map");
  return body(&f->body);
}

constexpr std::array<std::string_view, 8> kOptions = {
    "timeout_ms", "read_only", "idempotent", "key", "tx", "fetch", "credit", "trace"};

bool Decoder::read_options(Options* out) {
  const std::uint32_t pairs = c_.read_map();
  if (!c_.ok()) return field("options must be a map");
  std::uint32_t seen = 0;
  for (std::uint32_t i = 0; i < pairs; ++i) {
    const std::string_view key = c_.read_str();
    if (!c_.ok()) return field("options must be a map with str keys");
    const auto* found = std::find(kOptions.begin(), kOptions.end(), key);
    if (found == kOptions.end())
      return refuse(Code::invalid, "unknown option `%s`", Shown(key).text.data());
    const auto which = static_cast<std::size_t>(found - kOptions.begin());
    if ((seen & (1u << which)) != 0)
      return refuse(Code::invalid, "option `%s` is given twice", kOptions[which].data());
    seen |= 1u << which;
    if (!read_option(which, out)) return false;
  }
  return true;
}

bool Decoder::read_option(std::size_t which, Options* out) {
  const char* option = kOptions[which].data();
  auto number = [&](auto* value, std::uint64_t max) {
    const std::uint64_t n = c_.read_uint();
    if (!c_.ok() || n < 1 || n > max)
      return refuse(Code::invalid, "option `%s` must be an integer from 1 to %llu", option,
                    static_cast<unsigned long long>(max));
    *value = static_cast<std::remove_pointer_t<decltype(value)>>(n);
    return true;
  };
  auto flag = [&](bool* value) {
    *value = c_.read_bool();
    return c_.ok() || refuse(Code::invalid, "option `%s` must be a bool", option);
  };
  auto string = [&](std::string_view* value, std::size_t max) {
    *value = c_.read_str();
    return (c_.ok() && !value->empty() && value->size() <= max && valid_utf8(*value)) ||
           refuse(Code::invalid, "option `%s` must be a str of 1 to %zu bytes", option, max);
  };
  switch (which) {
    case 0:
      return number(&out->timeout_ms, std::min<std::uint64_t>(limits_.timeout_ms_max, UINT32_MAX));
    case 1:
      return flag(&out->read_only);
    case 2:
      return flag(&out->idempotent);
    case 3:
      return string(&out->key, kKeyMax);
    case 4:
      return number(&out->tx, UINT64_MAX);
    case 5:
      return number(&out->fetch, std::min<std::uint64_t>(limits_.fetch_max, UINT32_MAX));
    case 6:
      return number(&out->credit, std::min<std::uint64_t>(limits_.credit_max, UINT32_MAX));
    default:
      return string(&out->trace, kTraceMax);
  }
}

bool Decoder::read(Data* f) {
  if (f->id == 0) return field("id must not be 0");
  return uint(&f->seq, "seq must be an integer from 1", 1, UINT64_MAX) &&
         boolean(&f->last, "last must be a bool") && body(&f->body);
}

bool Decoder::read(Part* f) {
  return uint(&f->seq, "seq must be an integer from 1", 1, UINT64_MAX) && body(&f->body);
}

bool Decoder::read(Reply* f) {
  const std::uint64_t code = c_.read_uint();
  const std::optional<Code> known = code_from(code);
  if (!c_.ok() || !known.has_value()) return field("unknown code");
  f->code = *known;
  if (c_.peek() != Type::map) return field("meta must be a map");
  f->meta = c_.skip();
  if (!c_.ok()) return field("meta is truncated");
  return shape(f->meta, "meta") && body(&f->body);
}

bool Decoder::read(Credit* f) {
  if (f->id == 0) return field("id must not be 0");
  return uint(&f->seq, "seq must be an unsigned integer", 0, UINT64_MAX) &&
         (c_.at_end() || field("bytes after the frame"));
}

bool Decoder::read(Goaway* f) {
  if (refusal_.id != 0) return field("id must be 0");
  return uint(&f->drain_ms, "drain_ms must be an unsigned 32-bit integer", 0, UINT32_MAX) &&
         (c_.at_end() || field("bytes after the frame"));
}

tl::expected<Message, Refusal> Decoder::run() {
  if (!header()) return tl::make_unexpected(refusal_);
  switch (static_cast<FrameType>(refusal_.type)) {
    case FrameType::hello:
      return as<Hello>();
    case FrameType::welcome:
      return as<Welcome>();
    case FrameType::request:
      return as<Request>();
    case FrameType::data:
      return as<Data>();
    case FrameType::part:
      return as<Part>();
    case FrameType::reply:
      return as<Reply>();
    case FrameType::credit:
      return as<Credit>();
    case FrameType::cancel:
      return bare<Cancel>();
    case FrameType::ping:
      return bare<Ping>();
    case FrameType::pong:
      return bare<Pong>();
    case FrameType::goaway:
      break;
  }
  Goaway f;
  if (!read(&f)) return tl::make_unexpected(refusal_);
  return Message{f};
}

}  // namespace

std::string_view name(FrameType t) {
  const auto n = static_cast<std::size_t>(t);
  return n <= kKnownTypes ? kTypeNames[n] : kTypeNames[0];
}

tl::expected<Message, Refusal> decode(Bytes frame, From from, const Limits& limits) {
  return Decoder(frame, from, limits).run();
}

StoreReader::StoreReader(Bytes stores)
    : cursor_(stores), count_(stores.empty() ? 0 : cursor_.read_array()), left_(count_) {}

bool StoreReader::next(GrantedStore* out) {
  if (left_ == 0 || !cursor_.ok()) return false;
  --left_;
  if (cursor_.read_array() != 3) return false;
  out->name = cursor_.read_str();
  out->kind = cursor_.read_str();
  out->verbs = cursor_.skip();
  return cursor_.ok();
}

}  // namespace headgate::proto

// Door: every frame that a peer can send, both ways, and the meta of replies. What is accepted must
// be within the limits, and encode again to a frame that decodes to the same bytes.
#include "proto/envelope.hpp"

#include <cstdlib>
#include <string>

using namespace headgate::proto;

namespace {
void must(bool b) {
  if (!b) std::abort();
}

bool inside(Bytes whole, Bytes part) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void again(const Message& m, From from) {
  VectorOut out;
  Writer w(&out);
  std::visit(
      [&](const auto& f) {
        using F = std::decay_t<decltype(f)>;
        if constexpr (std::is_same_v<F, Reply>) {
          const auto meta = decode_meta(f.meta);
          if (!meta.has_value()) return;
          encode_reply_head(w, f.id, f.code, *meta);
          must(out.size() <= kReplyHeadMax);
          w.raw(f.body);
        } else {
          encode(w, f);
        }
      },
      m);
  if (out.size() == 0) return;
  Limits wide;
  wide.message_max = out.size();
  const auto back = decode(out.view(), from, wide);
  must(back.has_value());
  must(back->index() == m.index());
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes b(data, size);
  Limits limits;
  limits.message_max = 1 << 16;
  for (const From from : {From::client, From::daemon}) {
    const auto m = decode(b, from, limits);
    if (!m.has_value()) {
      must(!m.error().reason().empty());
      must(valid_utf8(m.error().reason()));
      must(m.error().cut || m.error().has_id);
      continue;
    }
    must(size <= limits.message_max);
    if (const auto* r = std::get_if<Request>(&*m)) {
      must(inside(b, r->body) && check(r->body) == Shape::good);
      must(r->store.size() <= kNameMax && r->options.credit <= kCreditMax);
      must(inside(b, bytes_of(r->options.key)) && r->options.key.size() <= kKeyMax);
    }
    if (const auto* welcome = std::get_if<Welcome>(&*m)) {
      StoreReader stores(welcome->stores);
      GrantedStore s;
      std::uint32_t n = 0;
      while (stores.next(&s)) ++n;
      must(n == stores.count());
    }
    again(*m, from);
  }
  (void)decode_meta(b);
  return 0;
}

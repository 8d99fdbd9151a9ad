#include "verbs.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include "cli.hpp"
#include "verbs_json.hpp"  // generated from proto/verbs.json

namespace headgate::cli {
namespace {

const Json& table() {
  static const Json kTable = Json::parse(kVerbsJson);
  return kTable;
}

bool is_list(const Field& f) { return f.type.starts_with("list"); }
bool is_pairs(const Field& f) {
  return f.type == "list<[key, value]>" || f.type == "list<[field, value]>" ||
         f.type == "list<[score, member]>";
}
bool is_json_list(const Field& f) {
  return f.type == "list" || f.type == "list<doc>" || f.type == "list<any>";
}
bool is_bytes(const std::string& type) { return type == "bytes" || type == "bytes or nil"; }

class Words {
 public:
  Words(const VerbShape& shape, bool base64) : shape_(shape), base64_(base64) {}

  void pack_word(Packer& p, const Field& f, const std::string& type, const std::string& word) {
    if (type == "str") return static_cast<void>(p.pack(word));
    if (is_bytes(type))
      return static_cast<void>(p.pack(Binary{base64_ ? from_base64(word) : word}));
    if (type == "bool") {
      if (word != "true" && word != "false") wrong(f, "true or false", word);
      return static_cast<void>(p.pack(word == "true"));
    }
    if (type == "int" || type == "int or number" || type == "number") {
      return pack_number(p, f, type == "int", word);
    }
    const Json v = parse_json(word, f.name);
    if (type == "doc" && !v.is_object()) wrong(f, "a JSON object", word);
    pack_json(p, v);
  }

  void pack_list(Packer& p, const Field& f, const std::vector<std::string>& words) {
    if (is_pairs(f)) {
      if (words.size() % 2 != 0) throw Usage(f.name + ": expected pairs of words\n" + usage());
      p.pack_array(static_cast<std::uint32_t>(words.size() / 2));
      const bool score = f.type == "list<[score, member]>";
      for (std::size_t i = 0; i < words.size(); i += 2) {
        p.pack_array(2);
        pack_word(p, f, score ? "number" : "bytes", words[i]);
        pack_word(p, f, "bytes", words[i + 1]);
      }
      return;
    }
    // One word that is a JSON array is the list; else each word is an item.
    if (is_json_list(f) && words.size() == 1 &&
        words[0].find_first_not_of(" \n\t") < words[0].size() &&
        words[0][words[0].find_first_not_of(" \n\t")] == '[') {
      return pack_json(p, parse_json(words[0], f.name));
    }
    p.pack_array(static_cast<std::uint32_t>(words.size()));
    const std::string item = f.type == "list<bytes>" ? "bytes"
                             : f.type == "list<str>" ? "str"
                                                     : "any";
    for (const std::string& w : words) pack_word(p, f, item, w);
  }
  [[nodiscard]] std::string usage() const { return "usage: " + usage_of(shape_); }

 private:
  void pack_number(Packer& p, const Field& f, bool integer, const std::string& word) {
    const char* end = word.data() + word.size();
    std::int64_t n = 0;
    if (const auto r = std::from_chars(word.data(), end, n); r.ec == std::errc{} && r.ptr == end) {
      p.pack(n);
      return;
    }
    double d = 0;
    const auto r = std::from_chars(word.data(), end, d);
    if (integer || r.ec != std::errc{} || r.ptr != end) {
      wrong(f, integer ? "an integer" : "a number", word);
    }
    pack_real(p, d);
  }
  [[noreturn]] void wrong(const Field& f, std::string_view expected, const std::string& word) {
    throw Usage(f.name + ": expected " + std::string(expected) + ", not '" + word + "'\n" +
                usage());
  }
  const VerbShape& shape_;
  bool base64_;
};

std::string placeholder(const Field& f) {
  std::string out = f.name;
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return out;
}

// Splits words into what is named (`--limit 5`) and what is positional.
struct Split {
  std::map<std::string, std::string> named;
  std::vector<std::string> positional;
};
Split split(const VerbShape& shape, const std::vector<std::string>& words, const Words& w) {
  Split out;
  bool only_positional = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_positional || !word.starts_with("--")) {
      out.positional.push_back(word);
      continue;
    }
    if (word == "--") {
      only_positional = true;
      continue;
    }
    const std::size_t equals = word.find('=');
    std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::replace(name.begin(), name.end(), '-', '_');
    const auto field = std::find_if(shape.fields.begin(), shape.fields.end(),
                                    [&](const Field& f) { return f.name == name; });
    if (field == shape.fields.end()) {
      throw Usage(shape.name + " has no option " + word + "\n" + w.usage());
    }
    std::string value = "true";
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (field->type != "bool") {
      if (i + 1 == words.size()) throw Usage(word + ": a value is missing\n" + w.usage());
      value = words[++i];
    }
    if (!out.named.emplace(name, value).second) throw Usage(word + " is given twice");
  }
  return out;
}

}  // namespace

std::vector<std::string> verb_names(std::string_view kind) {
  std::vector<std::string> out;
  const auto k = table().find(kind);
  if (k == table().end() || !k->is_object()) return out;
  for (const auto& [name, verb] : k->items()) out.push_back(name);
  return out;
}

VerbShape verb_shape(std::string_view kind, std::string_view verb) {
  const std::string name(verb);
  const Json* found = nullptr;
  for (const std::string_view section : {kind, std::string_view("common")}) {
    const Json& verbs = table().at(std::string(section));
    if (found == nullptr && verbs.contains(name)) found = &verbs.at(name);
  }
  if (found == nullptr) {
    std::string known;
    for (const std::string& v : verb_names(kind)) known += (known.empty() ? "" : " ") + v;
    throw Usage("there is no verb '" + name + "' of kind " + std::string(kind) +
                "; expected one of\n" + known);
  }
  VerbShape out;
  out.name = name;
  out.stream = found->contains("stream");
  for (const auto& [field, type] : found->at("body").items()) {
    std::string t = type.get<std::string>();
    const bool optional = t.ends_with('?');
    if (optional) t.pop_back();
    out.fields.push_back({field, t, !optional});
  }
  return out;
}

std::string usage_of(const VerbShape& shape) {
  std::string positional;
  std::string options;
  for (const Field& f : shape.fields) {
    if (f.type == "bool") {
      options += " [--" + f.name + "]";
    } else {
      std::string word = placeholder(f) + (is_pairs(f) ? " ..." : is_list(f) ? "..." : "");
      positional += f.required ? " " + word : " [" + word + "]";
    }
  }
  return shape.name + positional + options;
}

std::vector<std::uint8_t> body_of(const VerbShape& shape, const std::vector<std::string>& words,
                                  bool base64) {
  Words w(shape, base64);
  if (words.size() == 1 && words[0].starts_with('{') &&
      (shape.fields.empty() || shape.fields.front().type != "doc")) {
    return pack_json(parse_json(words[0], "the body"));
  }
  const Split given = split(shape, words, w);
  Buffer pairs;
  Packer p(pairs);
  std::uint32_t count = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < shape.fields.size(); ++i) {
    const Field& f = shape.fields[i];
    if (const auto named = given.named.find(f.name); named != given.named.end()) {
      p.pack(f.name);
      ++count;
      if (is_list(f))
        w.pack_list(p, f, {named->second});
      else
        w.pack_word(p, f, f.type, named->second);
      continue;
    }
    if (f.type == "bool") {
      if (f.required) throw Usage("--" + f.name + " is missing\n" + w.usage());
      continue;
    }
    std::size_t reserved = 0;  // words that required fields after this one need
    for (std::size_t k = i + 1; k < shape.fields.size(); ++k) {
      const Field& later = shape.fields[k];
      if (later.required && later.type != "bool" && given.named.count(later.name) == 0) ++reserved;
    }
    const std::size_t left = given.positional.size() - at;
    const std::size_t mine = is_list(f) ? (left > reserved ? left - reserved : 0)
                                        : (left > 0 && (f.required || left > reserved) ? 1 : 0);
    if (mine == 0) {
      if (f.required) throw Usage(placeholder(f) + " is missing\n" + w.usage());
      continue;
    }
    p.pack(f.name);
    ++count;
    const auto from = given.positional.begin() + static_cast<std::ptrdiff_t>(at);
    if (is_list(f)) {
      w.pack_list(p, f, {from, from + static_cast<std::ptrdiff_t>(mine)});
    } else {
      w.pack_word(p, f, f.type, *from);
    }
    at += mine;
  }
  if (at < given.positional.size()) {
    throw Usage("'" + given.positional[at] + "' is one word too many\n" + w.usage());
  }
  Buffer body;
  Packer(body).pack_map(count);
  body.write(reinterpret_cast<const char*>(pairs.view().data()), pairs.view().size());
  return body.take();
}

}  // namespace headgate::cli

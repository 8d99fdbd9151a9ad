// The files, one after the other, laid over each other and read; then Config's own questions.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "daemon/config/reader.hpp"
#include "proto/writer.hpp"

namespace headgate::config {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDropInsMax = 1000;

std::vector<std::string> drop_ins(const std::string& file, Faults& faults) {
  std::vector<std::string> out;
  const fs::path directory = fs::path(file).parent_path() / "conf.d";
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    if (entries->path().extension() == ".toml") out.push_back(entries->path().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    faults.add({directory.string(), 0, 0}, "cannot be read: " + error.message());
  }
  if (out.size() > kDropInsMax) {
    faults.add({directory.string(), 0, 0}, "has more than 1000 files");
    out.clear();
  }
  std::sort(out.begin(), out.end());
  return out;
}

// A store or a service is written once: two halves in two files would be read as neither.
void refuse_twins(const Node& base, Node& over, std::string_view section, Faults& faults) {
  const Node* mine = base.find(section);
  Node* theirs = over.find(section);
  if (mine == nullptr || theirs == nullptr) return;
  std::erase_if(theirs->entries, [&](const auto& entry) {
    const Node* first = mine->find(entry.first);
    if (first == nullptr) return false;
    faults.add(entry.second.key_place, std::string(section) + "." + entry.first +
                                           " is already defined at " + first->place.file_line());
    return true;
  });
}

void set_place(Node& n, const Place& place) {
  n.place = n.key_place = place;
  for (Node& i : n.items) set_place(i, place);
  for (auto& [key, value] : n.entries) set_place(value, place);
}

// "daemon.log_level=debug" as a tree.
std::optional<Node> override_tree(const std::string& text, Faults& faults) {
  const std::size_t equals = text.find('=');
  const std::string path = text.substr(0, equals);
  const Place place{"--set " + path, 0, 0};
  if (equals == std::string::npos || path.empty() || path.front() == '.' || path.back() == '.' ||
      path.find("..") != std::string::npos) {
    faults.add({"--set " + text, 0, 0}, "expected KEY=VALUE, like daemon.log_level=debug");
    return std::nullopt;
  }
  const std::string value_text = text.substr(equals + 1);
  Node value;
  auto parsed = parse_tree("v = " + value_text, place.file);
  if (parsed && parsed->entries.size() == 1 && parsed->entries.front().first == "v") {
    value = std::move(parsed->entries.front().second);
  } else {
    value.kind = Node::Kind::string;
    value.text = value_text;
  }
  for (std::size_t end = path.size();;) {
    const std::size_t dot = path.rfind('.', end - 1);
    const std::size_t from = dot == std::string::npos ? 0 : dot + 1;
    Node parent;
    parent.entries.emplace_back(path.substr(from, end - from), std::move(value));
    value = std::move(parent);
    if (dot == std::string::npos) break;
    end = dot;
  }
  set_place(value, place);
  return value;
}

// In the order of the files, then of their lines.
void sort_faults(std::vector<ConfigFault>& faults, const std::vector<std::string>& files) {
  const auto rank = [&](const Place& p) {
    return std::find(files.begin(), files.end(), p.file) - files.begin();
  };
  std::stable_sort(faults.begin(), faults.end(), [&](const auto& x, const auto& y) {
    const Place& a = x.place;
    const Place& b = y.place;
    if (a.file != b.file) return std::pair(rank(a), a.file) < std::pair(rank(b), b.file);
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
}

tl::expected<Config, std::vector<ConfigFault>> read_root(Node root, Config config, Faults faults,
                                                         const LoadOptions& options) {
  for (const std::string& text : options.overrides) {
    if (auto tree = override_tree(text, faults)) lay_over(root, std::move(*tree));
  }
  Reader(options, config, faults).read(root);
  if (faults.empty()) return config;
  sort_faults(faults.list(), config.files);
  return tl::make_unexpected(std::move(faults.list()));
}

template <class T>
const T* by_name(const std::vector<T>& sorted, std::string_view name) {
  const auto it = std::lower_bound(sorted.begin(), sorted.end(), name,
                                   [](const T& t, std::string_view n) { return t.name < n; });
  return it != sorted.end() && it->name == name ? &*it : nullptr;
}

}  // namespace

std::string Place::text() const {
  if (line == 0) return file;
  return file + ":" + std::to_string(line) + ":" + std::to_string(column);
}
std::string Place::file_line() const {
  return line == 0 ? file : file + ":" + std::to_string(line);
}
std::string ConfigFault::text() const { return place.text() + ": " + what; }

const Store* Config::store(std::string_view name) const { return by_name(stores, name); }
const Service* Config::service(std::string_view name) const { return by_name(services, name); }

std::vector<std::uint8_t> pack_statements(const Config& config) {
  proto::VectorOut out;
  proto::Writer w(&out);
  w.map(static_cast<std::uint32_t>(config.statements.size()));
  for (const Statement& s : config.statements) {
    w.str(s.name);
    w.str(s.text);
  }
  const proto::Bytes written = out.view();
  return {written.begin(), written.end()};
}

tl::expected<Config, std::vector<ConfigFault>> load(const std::string& file,
                                                    const LoadOptions& options) {
  Config config;
  Faults faults;
  Node root;
  std::vector<std::string> files = {file};
  for (std::string& f : drop_ins(file, faults)) files.push_back(std::move(f));
  bool readable = true;
  for (const std::string& f : files) {
    auto tree = read_tree(f);
    config.files.push_back(f);
    if (!tree) {
      faults.add(tree.error().place, tree.error().what);
      readable = false;
      continue;
    }
    refuse_twins(root, *tree, "stores", faults);
    refuse_twins(root, *tree, "services", faults);
    lay_over(root, std::move(*tree));
  }
  // After a syntax error the rest would be guesswork.
  if (!readable) return tl::make_unexpected(std::move(faults.list()));
  return read_root(std::move(root), std::move(config), std::move(faults), options);
}

tl::expected<Config, std::vector<ConfigFault>> load_text(std::string_view text,
                                                         const std::string& name,
                                                         const LoadOptions& options) {
  auto tree = parse_tree(text, name);
  if (!tree) return tl::make_unexpected(std::vector<ConfigFault>{tree.error()});
  Config config;
  config.files.push_back(name);
  return read_root(std::move(*tree), std::move(config), Faults{}, options);
}

int check(const std::string& file, const LoadOptions& options) {
  const auto config = load(file, options);
  if (config) {
    for (const ConfigFault& w : config->warnings) {
      std::fprintf(stderr, "warning: %s\n", w.text().c_str());
    }
    std::printf("%s: ok\n", file.c_str());
    return 0;
  }
  for (const ConfigFault& f : config.error()) std::fprintf(stderr, "%s\n", f.text().c_str());
  return 1;
}

}  // namespace headgate::config

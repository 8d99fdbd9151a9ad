// Reading and checking the files of [tls], and the copies that drivers get.
#include "daemon/config/certificates.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "daemon/core/secret.hpp"

namespace headgate::config {
namespace {

constexpr std::size_t kFileMax = 4u << 20;  // the system's bundle of authorities has 200 KiB

template <auto F>
struct Free {
  template <class T>
  void operator()(T* p) const {
    F(p);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using X509s = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

struct File {
  std::string_view key;  // of [tls]
  std::string path;
  Secret text;
};

// Nobody is asked for a passphrase.
int no_passphrase(char*, int, int, void*) { return 0; }

Bio open(const Secret& text) {
  return Bio(BIO_new_mem_buf(text.reveal().data(), static_cast<int>(text.reveal().size())));
}

X509s first_certificate(const Secret& text) {
  const Bio bio = open(text);
  return X509s(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
}

Key private_key(const Secret& text) {
  Bio bio = open(text);
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (key != nullptr) return key;
  bio = open(text);
  return Key(d2i_PrivateKey_bio(bio.get(), nullptr));
}

// Every block in it is whole. A file that is being written ends in the middle of one.
bool whole(const Secret& text) {
  std::size_t begins = 0, ends = 0;
  for (std::size_t at = 0; (at = text.reveal().find("-----BEGIN ", at)) != std::string_view::npos;
       ++at) {
    ++begins;
  }
  for (std::size_t at = 0; (at = text.reveal().find("-----END ", at)) != std::string_view::npos;
       ++at) {
    ++ends;
  }
  return begins == ends;
}

// What went wrong, or "".
std::string read_file(File& file) {
  struct stat s {};
  const auto fd = open_file(file.path, &s);
  if (!fd) return fd.error();
  if (static_cast<std::size_t>(s.st_size) > kFileMax) return file.path + " is larger than 4MiB";
  if (file.key == "key_file") {
    // As secret as a password; but root may let a group read it (systemd's credentials).
    std::string wrong = too_open(file.path, s, s.st_uid == 0 ? 037u : 077u);
    if (!wrong.empty()) return wrong;
  }
  // Of its size at once: a string that grows leaves pieces of a key behind.
  std::string text(static_cast<std::size_t>(s.st_size), '\0');
  std::string wrong;
  for (std::size_t at = 0; wrong.empty() && at < text.size();) {
    const ssize_t n = ::read(fd->get(), text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) wrong = file.path + ": " + std::strerror(errno);
    if (n == 0) wrong = file.path + " became shorter while it was read";
    if (n > 0) at += static_cast<std::size_t>(n);
  }
  if (wrong.empty() && text.empty()) wrong = file.path + " is empty";
  file.text = Secret(std::move(text));
  return wrong;
}

std::vector<File> files_of(const Tls& tls) {
  std::vector<File> files;
  if (tls.mode == Tls::Mode::off) return files;
  for (const auto& [key, path] :
       {std::pair<std::string_view, const std::string*>("ca_file", &tls.ca_file),
        {"cert_file", &tls.cert_file},
        {"key_file", &tls.key_file}}) {
    if (!path->empty()) files.push_back({key, *path, Secret()});
  }
  return files;
}

void note_time(const File& file, const X509* x, std::vector<TlsFault>* overdue) {
  if (overdue == nullptr) return;
  if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0) {
    overdue->emplace_back(file.key, file.path + " has expired");
  } else if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0) {
    overdue->emplace_back(file.key, file.path + " is not valid yet");
  }
}

// Reads them all; what each is to be, and that key and certificate belong together.
std::vector<TlsFault> read_all(std::vector<File>& files, std::vector<TlsFault>* overdue) {
  std::vector<TlsFault> faults;
  X509s certificate;
  for (File& f : files) {
    if (std::string wrong = read_file(f); !wrong.empty()) {
      faults.emplace_back(f.key, std::move(wrong));
      continue;
    }
    if (f.key == "key_file") {
      const Key key = private_key(f.text);
      if (key == nullptr) {
        const bool locked = f.text.reveal().find("ENCRYPTED") != std::string_view::npos;
        faults.emplace_back(f.key,
                            f.path + (locked ? " has a passphrase: expected a key without one"
                                             : " holds no whole private key"));
      } else if (certificate != nullptr &&
                 X509_check_private_key(certificate.get(), key.get()) != 1) {
        faults.emplace_back(f.key, f.path + " is not the key of the certificate in cert_file");
      }
      continue;
    }
    X509s first = first_certificate(f.text);
    if (first == nullptr || !whole(f.text)) {
      faults.emplace_back(f.key, f.path + " holds no whole certificate");
      continue;
    }
    note_time(f, first.get(), overdue);
    if (f.key == "cert_file") certificate = std::move(first);
  }
  return faults;
}

std::string digest_of(const std::vector<File>& files) {
  std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  for (const File& f : files) {
    const std::string head =
        std::string(f.key) + ":" + std::to_string(f.text.reveal().size()) + ":";
    EVP_DigestUpdate(context.get(), head.data(), head.size());
    EVP_DigestUpdate(context.get(), f.text.reveal().data(), f.text.reveal().size());
  }
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(context.get(), out, &size);
  return {reinterpret_cast<const char*>(out), size};
}

// A file in memory that nobody can change; none: this system has none that can be opened by a path.
Fd in_memory(const File& file) {
  Fd fd(::memfd_create("headgate-tls", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (fd.get() < 0) return fd;
  const std::string_view text = file.text.reveal();
  const bool good =
      ::fchmod(fd.get(), 0600) == 0 &&
      ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0 &&
      ::access(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), R_OK) == 0;
  if (!good) fd.close();
  return fd;
}

}  // namespace

tl::expected<std::shared_ptr<const Certificates>, std::string> Certificates::read(const Tls& tls) {
  std::vector<File> files = files_of(tls);
  const auto faults = read_all(files, nullptr);
  if (!faults.empty()) {
    return tl::make_unexpected("tls." + std::string(faults[0].first) + ": " + faults[0].second);
  }
  std::shared_ptr<Certificates> made(new Certificates);
  Tls copies = tls;
  for (const File& f : files) {
    Fd fd = in_memory(f);
    if (fd.get() < 0) continue;  // the file itself serves
    std::string& to = f.key == "ca_file"     ? copies.ca_file
                      : f.key == "cert_file" ? copies.cert_file
                                             : copies.key_file;
    to = "/proc/self/fd/" + std::to_string(fd.get());
    made->files_.push_back(std::move(fd));
  }
  made->packed_ = pack_tls(copies);
  made->digest_ = digest_of(files);
  return made;
}

std::shared_ptr<const Certificates> Certificates::unread(const Tls& tls) {
  std::shared_ptr<Certificates> made(new Certificates);
  made->packed_ = pack_tls(tls);
  return made;
}

std::vector<TlsFault> faults_of(const Tls& tls, std::vector<TlsFault>* overdue) {
  std::vector<File> files = files_of(tls);
  return read_all(files, overdue);
}

std::string file_stamp(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return "none";
  const auto time = [](const timespec& t) {
    return std::to_string(t.tv_sec) + "." + std::to_string(t.tv_nsec);
  };
  return std::to_string(s.st_dev) + ":" + std::to_string(s.st_ino) + ":" +
         std::to_string(s.st_size) + ":" + time(s.st_mtim) + ":" + time(s.st_ctim) + ":" +
         std::to_string(s.st_uid) + ":" + std::to_string(s.st_mode);
}

std::string source_stamp(const SecretSource& source) {
  if (source.from == SecretSource::From::file) return file_stamp(source.name);
  if (source.from != SecretSource::From::systemd) return {};
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  return directory == nullptr ? std::string()
                              : file_stamp(std::string(directory) + "/" + source.name);
}

std::string tls_stamp(const Tls& tls) {
  std::string out;
  for (const File& f : files_of(tls)) out += file_stamp(f.path) + ";";
  return out;
}

}  // namespace headgate::config

// bench-echo URL: a bare libzmq ROUTER that sends every frame back; what a gateway could cost at
// least. One thread, one I/O thread, as headgated has.
#include <sys/resource.h>
#include <zmq.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bench-echo URL\n");
    return 2;
  }
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  void* context = zmq_ctx_new();
  zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 65'000);
  void* router = zmq_socket(context, ZMQ_ROUTER);
  const int backlog = 4096;
  zmq_setsockopt(router, ZMQ_BACKLOG, &backlog, sizeof backlog);
  if (zmq_bind(router, argv[1]) != 0) {
    std::fprintf(stderr, "bench-echo: cannot bind %s: %s\n", argv[1], zmq_strerror(zmq_errno()));
    return 1;
  }
  std::printf("ready\n");
  std::fflush(stdout);
  zmq_msg_t m;
  zmq_msg_init(&m);
  for (;;) {
    if (zmq_msg_recv(&m, router, 0) < 0) break;
    zmq_msg_send(&m, router, zmq_msg_more(&m) ? ZMQ_SNDMORE : 0);
  }
  return 0;
}

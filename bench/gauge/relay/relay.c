// relay PORT SERVERPORT passes each connection to 127.0.0.1:PORT on to a
// connection of its own to 127.0.0.1:SERVERPORT, and looks at no byte of it.
//
// It is the floor of the benchmarks: one thread, edge-triggered epoll, one recv and
// one send for what is there, no timers, no counts, no log. What it costs is what
// the kernel takes for passing bytes on, so no proxy that passes sessions on one to
// one costs much less.

#define _GNU_SOURCE // accept4

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 72 * 1024, EVENTS = 256 };

// side is one end of a session.
struct side {
	int fd;
	struct side *peer;
	char *rest; // read from the peer, not taken yet
	size_t nrest;
	int ending; // its end has been told of, once: read on to it
	int closed;
};

static int epfd;
static char buffer[BUFFER];
static struct side *garbage[2 * EVENTS]; // freed after the batch of events that may name it
static int ngarbage;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static void drop(struct side *s) {
	if (s->closed)
		return;
	struct side *both[] = {s, s->peer};
	for (int i = 0; i < 2; i++) {
		both[i]->closed = 1;
		close(both[i]->fd);
		garbage[ngarbage++] = both[i];
	}
}

// flush writes what is left for s; 0: all of it.
static int flush(struct side *s) {
	while (s->nrest > 0) {
		ssize_t n = send(s->fd, s->rest, s->nrest, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 1 : (drop(s), 1);
		memmove(s->rest, s->rest + n, s->nrest - n);
		s->nrest -= n;
	}
	free(s->rest);
	s->rest = NULL;
	return 0;
}

// pump moves what s has sent to its peer, until there is no more or no room.
static void pump(struct side *s) {
	struct side *to = s->peer;
	while (to->nrest == 0) {
		ssize_t n = recv(s->fd, buffer, BUFFER, 0);
		if (n <= 0) {
			if (n == 0 || errno != EAGAIN)
				drop(s);
			return;
		}
		ssize_t m = send(to->fd, buffer, n, MSG_NOSIGNAL);
		if (m < 0) {
			if (errno != EAGAIN) {
				drop(s);
				return;
			}
			m = 0;
		}
		if (m < n) {
			to->nrest = n - m;
			to->rest = malloc(to->nrest);
			memcpy(to->rest, buffer + m, to->nrest);
			return;
		}
		if (n < BUFFER && !s->ending)
			return; // edge-triggered: more will be told of
	}
}

static struct side *watch(int fd) {
	struct side *s = calloc(1, sizeof *s);
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	s->fd = fd;
	return s;
}

static void add(struct side *s) {
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, s->fd, &e) < 0)
		die("epoll_ctl");
}

int main(int argc, char **argv) {
	if (argc != 3) {
		fprintf(stderr, "usage: relay PORT SERVERPORT\n");
		return 2;
	}
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, to = at;
	at.sin_port = htons(atoi(argv[1]));
	to.sin_port = htons(atoi(argv[2]));
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 1024) < 0)
		die("listen");
	epfd = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e) < 0)
		die("epoll_ctl");
	for (;;) {
		int n = epoll_wait(epfd, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct side *s = events[i].data.ptr;
			if (s == NULL) {
				int c = accept4(listener, NULL, NULL, SOCK_NONBLOCK), u = socket(AF_INET, SOCK_STREAM, 0);
				if (c < 0 || u < 0 || connect(u, (struct sockaddr *)&to, sizeof to) < 0) { // on loopback this takes no time
					close(c);
					close(u);
					continue;
				}
				fcntl(u, F_SETFL, O_NONBLOCK);
				struct side *a = watch(c), *b = watch(u);
				a->peer = b;
				b->peer = a;
				add(a);
				add(b);
				continue;
			}
			if (s->closed)
				continue;
			s->ending |= (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
			if (events[i].events & EPOLLOUT && s->nrest > 0 && flush(s) == 0)
				pump(s->peer);
			if (!s->closed && events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
				pump(s);
		}
		while (ngarbage > 0) {
			free(garbage[--ngarbage]->rest);
			free(garbage[ngarbage]);
		}
	}
}

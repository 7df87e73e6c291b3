/* The least that passing a message on can cost: one process, one loop, one send() to each member for each message.
 *
 *   fanout PORT
 *
 * It answers a WebSocket handshake without looking at it and passes every frame on as it came, unmasked. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int members[20000], total, ready[1 << 16];

int main(int count, char **words) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(words[count - 1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int door = socket(AF_INET, SOCK_STREAM, 0), on = 1, poll = epoll_create1(0);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(door, (void *)&here, sizeof here) || listen(door, 1024)) return 1;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = door}, found[512];
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &e);
    for (;;) {
        int n = epoll_wait(poll, found, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = found[i].data.fd;
            unsigned char in[4096], out[4096];
            if (fd == door) {
                fd = accept(door, NULL, NULL);
                if (fd >= 1 << 16) return 1;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                e.data.fd = fd;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
                continue;
            }
            int got = recv(fd, in, sizeof in, MSG_DONTWAIT);
            if (got <= 0) {
                for (int k = 0; k < total; k++) if (members[k] == fd) members[k--] = members[--total];
                ready[fd] = 0;
                close(fd);
                continue;
            }
            if (!ready[fd]) {
                const char *yes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                send(fd, yes, strlen(yes), MSG_NOSIGNAL);
                ready[fd] = 1;
                members[total++] = fd;
                continue;
            }
            for (int at = 0; got - at >= 6;) {
                int size = in[at + 1] & 0x7f;
                if (size > 125 || got - at < 6 + size) break;
                out[0] = in[at];
                out[1] = (unsigned char)size;
                for (int k = 0; k < size; k++) out[2 + k] = in[at + 6 + k] ^ in[at + 2 + k % 4];
                for (int k = 0; k < total; k++) send(members[k], out, size + 2, MSG_DONTWAIT | MSG_NOSIGNAL);
                at += 6 + size;
            }
        }
    }
}

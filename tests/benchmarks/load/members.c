/* Many members of a room in one process, so that the load is never the bottleneck of what it measures.
 *
 *   members PORT [name=value ...] < paths
 *
 * Standard input holds one request path a line, a connection each; a line that is none ends them, another one begins the
 * load. Standard output says `ready` when all are connected, and at the end one line of JSON. Senders are the first `senders` connections; each
 * sends at `hertz`, evenly spread, and what it sends carries the moment at which it was due: a late sender counts as late.
 *
 * The last ones may be stalled=N (they stop reading), flooders=N, and vanished=N (gone without a FIN: half-open).
 *
 * wire=hub     a room of Collegium: HELLO, then CUR (say=cursor), YAWARE (say=aware) or MSG (say=message)
 * wire=plain   any server that passes binary messages on: the same bytes without HELLO
 * wire=io      socket.io over WebSocket: 42["c","STAMP"]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { HUB, PLAIN, IO };
enum { CURSOR, AWARE, MESSAGE };
enum { ROOM = 1 << 19, BUCKETS = 600000, MOST_MESSAGES = 1 << 16, MOST = 20000 };

struct link { int fd, stalled, flooding, vanished, closed, opened, size; char *rest; };

static struct link links[MOST];
static int total, wire = HUB, say = CURSOR, senders = 0, stalled = 0, flooders = 0, vanished = 0, port;
static double hertz = 30, seconds = 4;
static uint32_t histogram[BUCKETS];          /* ages in tenths of a millisecond */
static uint64_t told, sent, refused, late_sum, late_most;
static uint32_t last_of[MOST_MESSAGES];      /* per message: the age at its last receiver */
static uint16_t receivers_of[MOST_MESSAGES];
static int pace = 33, cut_codes[8], cuts, opened;
static const char *draft = "draft";

static uint32_t stamp(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)((uint64_t)t.tv_sec * 10000 + t.tv_nsec / 100000);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *why) {
    fprintf(stderr, "members: %s: %s\n", why, strerror(errno));
    exit(1);
}

/* One client frame; a mask of zeros is a mask. */
static int frame(char *out, int opcode, const char *body, int size) {
    int head = 2;
    out[0] = (char)(0x80 | opcode);
    if (size < 126) out[1] = (char)(0x80 | size);
    else { out[1] = (char)(0x80 | 126); out[2] = (char)(size >> 8); out[3] = (char)size; head = 4; }
    memset(out + head, 0, 4);
    memcpy(out + head + 4, body, size);
    return head + 4 + size;
}

static int send_frame(struct link *l, int opcode, const char *body, int size) {
    char out[2048];
    int length = frame(out, opcode, body, size);
    return send(l->fd, out, length, MSG_DONTWAIT | MSG_NOSIGNAL) == length;
}

static int dial(const char *path) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char head[4096];
    for (int tries = 0; tries < 60; tries++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), got = 0;
        if (connect(fd, (void *)&to, sizeof to)) fail("connect");
        int length = snprintf(head, sizeof head,
            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, port);
        if (send(fd, head, length, 0) != length) fail("send");
        while (got < 4 || memcmp(head + got - 4, "\r\n\r\n", 4)) {
            if (got == sizeof head || recv(fd, head + got, 1, 0) != 1) { errno = EPROTO; got = -1; break; }
            got++;
        }
        if (got > 0 && !memcmp(head + 9, "101", 3)) {
            int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return fd;
        }
        close(fd); /* The hub lets 200 a second in; who comes too early comes again. */
        usleep(300000);
    }
    fail("never let in");
    return -1;
}

static void age(uint32_t at) {
    uint32_t old = stamp() - at;
    if (old >= 0x80000000u) old = 0;
    histogram[old < BUCKETS ? old : BUCKETS - 1]++;
    told++;
}

static uint32_t read32(const unsigned char *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }

static void message_age(const char *body, int size) {
    const char *at = memmem(body, size, "stamp ", 6);
    if (!at) return;
    char *end;
    uint32_t when = strtoul(at + 6, &end, 10), number = strtoul(end, NULL, 10), old = stamp() - when;
    if (number >= MOST_MESSAGES) return;
    age(when);
    receivers_of[number]++;
    if (old > last_of[number]) last_of[number] = old;
}

static void hear(struct link *l, int opcode, const unsigned char *body, int size) {
    if (opcode == 8) {
        if (size >= 2 && cuts < 8) cut_codes[cuts++] = body[0] << 8 | body[1];
        l->closed = 1;
    } else if (opcode == 9) {
        send_frame(l, 10, (const char *)body, size);
    } else if (wire == HUB && size) {
        if (body[0] == 0x40 && !l->opened) l->opened = 1, opened++;
        else if (body[0] == 0x11) for (int at = 4; at + 8 <= size; at += 8) age(read32(body + at + 3));
        else if (body[0] == 0x13) pace = body[1] << 8 | body[2];
        else if (body[0] == 0x42 && say == AWARE) age(read32(body + size - 60));
        else if (body[0] == 0x30 && say == MESSAGE) message_age((const char *)body, size);
    } else if (wire == PLAIN && size >= 8) {
        if (say == AWARE) age(read32(body + size - 60));
        else age(read32(body + 2));
    } else if (wire == IO && size) {
        if (size > 8 && !memcmp(body, "42[\"c\",\"", 8)) age(strtoul((const char *)body + 8, NULL, 10));
        else if (body[0] == '2') send_frame(l, 1, "3", 1);
    }
}

static void drain(struct link *l, char *room) {
    memcpy(room, l->rest, l->size);
    int got = recv(l->fd, room + l->size, ROOM - l->size, MSG_DONTWAIT);
    if (got == 0) l->closed = 1;
    if (got <= 0) return;
    int end = l->size + got, at = 0;
    const unsigned char *p = (unsigned char *)room;
    while (end - at >= 2) {
        int size = p[at + 1] & 0x7f, start = at + 2;
        if (size == 126) { if (end - at < 4) break; size = p[at + 2] << 8 | p[at + 3]; start = at + 4; }
        else if (size == 127) { if (end - at < 10) break; size = (int)read32(p + at + 6); start = at + 10; }
        if (end < start + size) break;
        hear(l, p[at] & 15, p + start, size);
        at = start + size;
    }
    l->size = end - at;
    if (l->size > 1 << 16) l->rest = realloc(l->rest, l->size);
    memcpy(l->rest, room + at, l->size);
}

static int utter(struct link *l, uint32_t due, uint32_t number) {
    char body[512];
    if (say == CURSOR && wire != IO) {
        unsigned char cur[8] = {0x10, 0, due >> 24, due >> 16, due >> 8, due, 0, number};
        return send_frame(l, 2, (char *)cur, 8);
    }
    if (say == AWARE && wire != IO) {
        int length = (int)strlen(draft);
        body[0] = 0x42;
        body[1] = (char)length;
        memcpy(body + 2, draft, length);
        memset(body + 2 + length, 'a', 60);
        for (int i = 0; i < 4; i++) body[2 + length + i] = (char)(due >> (24 - 8 * i));
        return send_frame(l, 2, body, 2 + length + 60);
    }
    if (say == MESSAGE) {
        int length = snprintf(body, sizeof body, "0{\"client_id\":\"c%d-%u\",\"text\":\"stamp %u %u\"}", getpid(), number, due, number);
        return send_frame(l, 2, body, length);
    }
    int length = snprintf(body, sizeof body, "42[\"c\",\"%u%s\"]", due, say == AWARE ? ",aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" : "");
    return send_frame(l, 1, body, length);
}

static double quantile(double share) {
    uint64_t all = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++) all += histogram[i];
    if (!all) return -1;
    for (int i = 0; i < BUCKETS; i++) if ((seen += histogram[i]) >= share * all) return i / 10.0;
    return -1;
}

static int ascending(const void *a, const void *b) { return *(uint32_t *)a < *(uint32_t *)b ? -1 : *(uint32_t *)a > *(uint32_t *)b; }

int main(int count, char **words) {
    if (count < 2) return 2;
    port = atoi(words[1]);
    for (int i = 2; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!value) return 2;
        *value++ = 0;
        if (!strcmp(words[i], "wire")) wire = !strcmp(value, "hub") ? HUB : !strcmp(value, "io") ? IO : PLAIN;
        else if (!strcmp(words[i], "say")) say = !strcmp(value, "aware") ? AWARE : !strcmp(value, "message") ? MESSAGE : CURSOR;
        else if (!strcmp(words[i], "senders")) senders = atoi(value);
        else if (!strcmp(words[i], "stalled")) stalled = atoi(value);
        else if (!strcmp(words[i], "flooders")) flooders = atoi(value);
        else if (!strcmp(words[i], "vanished")) vanished = atoi(value);
        else if (!strcmp(words[i], "hertz")) hertz = atof(value);
        else if (!strcmp(words[i], "seconds")) seconds = atof(value);
        else if (!strcmp(words[i], "draft")) draft = value;
        else return 2;
    }
    static char line[4096], room[ROOM];
    int book = epoll_create1(0), going = 0;
    setvbuf(stdin, NULL, _IONBF, 0); /* `select` below is to see what was not read yet */
    while (fgets(line, sizeof line, stdin) && line[0] == '/' && total < MOST) {
        line[strcspn(line, "\n")] = 0;
        struct link *l = &links[total++];
        l->fd = dial(line);
        l->rest = malloc(1 << 16);
        if (wire == HUB) send_frame(l, 2, "\x01{\"proto\":1}", 12);
        if (wire == IO) send_frame(l, 1, "40", 2);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = total - 1};
        epoll_ctl(book, EPOLL_CTL_ADD, l->fd, &e);
        if (total % 50 == 0) for (int i = 0; i < total; i++) drain(&links[i], room);
    }
    if (wire == HUB && say == AWARE) {
        for (int i = 0; i < total; i++) {
            char body[128];
            int length = (int)strlen(draft);
            body[0] = 0x40;
            body[1] = (char)length;
            memcpy(body + 2, draft, length);
            memset(body + 2 + length, 0, 5); /* epoch 0, and the state vector of nothing */
            send_frame(&links[i], 2, body, 2 + length + 5);
        }
        /* To open a draft is a request to the record; what is measured is what passes between those who have. */
        for (double patience = now() + 30; opened < total;) {
            if (now() > patience) fail("the draft was not opened");
            for (int i = 0; i < total; i++) drain(&links[i], room);
            usleep(2000);
        }
    }
    for (int i = 0; i < stalled; i++) links[total - 1 - i].stalled = 1;
    for (int i = 0; i < flooders; i++) links[total - 1 - stalled - i].flooding = 1;
    for (int i = 0; i < vanished; i++) links[total - 1 - stalled - flooders - i].vanished = 1;
    printf("ready\n");
    fflush(stdout);
    /* Read along until it is time: nobody is to be behind at the start. */
    while (!going) {
        struct epoll_event e[512];
        int n = epoll_wait(book, e, 512, 20);
        for (int i = 0; i < n; i++) drain(&links[e[i].data.u32], room);
        fd_set in;
        struct timeval none = {0, 0};
        FD_ZERO(&in);
        FD_SET(0, &in);
        if (select(1, &in, NULL, NULL, &none) == 1) going = 1;
    }
    /* A machine that lost its power: this socket's kernel drops whatever comes, and says nothing, not even that it has. */
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog drop = {.len = 1, .filter = nothing};
    for (int i = 0; i < total; i++) {
        if (!links[i].vanished) continue;
        if (setsockopt(links[i].fd, SOL_SOCKET, SO_ATTACH_FILTER, &drop, sizeof drop)) fail("SO_ATTACH_FILTER");
        epoll_ctl(book, EPOLL_CTL_DEL, links[i].fd, NULL);
    }
    memset(histogram, 0, sizeof histogram);
    told = 0;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    double begin = now(), end = begin + seconds, *due = calloc(senders ? senders : 1, sizeof *due);
    uint32_t zero = stamp();
    for (int i = 0; i < senders; i++) due[i] = begin + i / (senders * hertz);
    int next = 0;
    double t;
    while ((t = now()) < end) {
        while (senders && due[next] <= t) {
            double late = (t - due[next]) * 1e4;
            late_sum += late;
            if (late > late_most) late_most = late;
            if (utter(&links[next], zero + (uint32_t)((due[next] - begin) * 1e4), (uint32_t)sent)) sent++;
            else refused++;
            due[next] += 1 / hertz;
            next = (next + 1) % senders;
        }
        int flooding = 0;
        for (int i = 0; i < flooders; i++) {
            struct link *l = &links[total - 1 - stalled - i];
            flooding |= !l->closed;
            for (int k = 0; k < 20 && !l->closed; k++) send_frame(l, 2, "\x03\x01\x01z", 4);
        }
        double wait = senders ? (due[next] < end ? due[next] : end) - now() : end - now();
        struct epoll_event e[512];
        /* A wait in milliseconds would be a spin: half the senders are due within the next one. */
        struct timespec patience = {0, 0};
        /* 20,000 frames a second are a flood; a spin would starve the small web beside this, and its node would wait for that. */
        if (flooding && wait > 0.001) wait = 0.001;
        if (wait > 0) patience = (struct timespec){(time_t)wait, (long)((wait - (time_t)wait) * 1e9)};
        struct pollfd any = {.fd = book, .events = POLLIN};
        int n = ppoll(&any, 1, &patience, NULL) > 0 ? epoll_wait(book, e, 512, 0) : 0;
        for (int i = 0; i < n; i++) {
            struct link *l = &links[e[i].data.u32];
            if (l->closed || l->stalled) epoll_ctl(book, EPOLL_CTL_DEL, l->fd, NULL);
            else drain(l, room);
        }
    }
    getrusage(RUSAGE_SELF, &after);
    double cpu = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) + (after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1e6
               + (after.ru_stime.tv_sec - before.ru_stime.tv_sec) + (after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
    int whole = 0, open = 0;
    uint32_t *ages = calloc(MOST_MESSAGES, sizeof *ages);
    for (uint32_t i = 0; i < sent && i < MOST_MESSAGES; i++) if (receivers_of[i] == total) ages[whole++] = last_of[i];
    for (int i = 0; i < total; i++) open += !links[i].closed;
    qsort(ages, whole, sizeof *ages, ascending);
    printf("{\"sent\": %llu, \"refused\": %llu, \"told\": %llu, \"p50\": %.1f, \"p95\": %.1f, \"p99\": %.1f, \"pace_ms\": %d, "
           "\"load_cpu\": %.3f, \"late_mean_ms\": %.3f, \"late_most_ms\": %.1f, \"open\": %d, \"codes\": [",
           (unsigned long long)sent, (unsigned long long)refused, (unsigned long long)told, quantile(0.5), quantile(0.95),
           quantile(0.99), pace, cpu / seconds, sent ? late_sum / 10.0 / sent : 0, late_most / 10.0, open);
    for (int i = 0; i < cuts; i++) printf("%s%d", i ? ", " : "", cut_codes[i]);
    printf("], \"at_all\": %d, \"last_p50\": %.1f, \"last_p95\": %.1f}\n", whole,
           whole ? ages[whole / 2] / 10.0 : -1, whole ? ages[(int)(whole * 0.95)] / 10.0 : -1);
    fflush(stdout);
    if (vanished) pause(); /* Until killed: the end of this process would be a FIN. */
    return 0;
}

/*
 * The kernel translates and compiles a filter on every load, so its length is paid at every start.
 * libseccomp spends two instructions and more on each name; the numbers of the calls that one list
 * treats alike lie in few ranges. This pass walks the long program once for every range of numbers
 * that it can tell apart, with architecture and number known (partial evaluation), and writes down
 * where that leads: to a decision, or to a piece of code that looks at arguments. A search tree
 * over the merged ranges replaces everything before.
 *
 * Code is written from its end to its start: jumps of classic BPF only go forward, so every target
 * is already placed when its jump is written, and "too far for eight bits" is seen at once.
 */
#include "isolation/seccomp_private.h"

#include "base/arena.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

enum { OFFSET_NR = 0, OFFSET_ARCH = 4, REACH = 250 };

/* Where control goes: a decision, or an instruction (of the input, or placed in the output). */
struct target {
    bool is_return;
    uint32_t value; /* the decision, or a position */
};

struct range {
    uint32_t start;
    struct target to;
};

struct writer {
    struct sock_filter code[BPF_MAXINSNS]; /* last instruction first */
    uint32_t height;                       /* how many are written */
    bool full;
};

struct pass {
    const struct sock_filter *in;
    size_t count;
    uint32_t arch;
    bool unknown; /* met an instruction that is not understood */
    struct writer *w;
    bool *reached;    /* by input position: needed in the block being written */
    uint32_t *placed; /* by input position: height in the output */
};

static uint32_t put(struct writer *w, struct sock_filter instruction)
{
    if (w->height == BPF_MAXINSNS) {
        w->full = true;
        return 0;
    }
    w->code[w->height] = instruction;
    return w->height++;
}

static bool returns(const struct writer *w, uint32_t at, uint32_t value)
{
    return w->code[at].code == (BPF_RET | BPF_K) && w->code[at].k == value;
}

static struct target put_return(struct writer *w, uint32_t value)
{
    for (uint32_t back = 0; back < REACH && back < w->height; back++) {
        if (returns(w, w->height - 1 - back, value))
            return (struct target){false, w->height - 1 - back};
    }
    struct sock_filter ret = BPF_STMT(BPF_RET | BPF_K, value);
    return (struct target){false, put(w, ret)};
}

/* Whether control that comes to @at does what @to says. */
static bool leads(const struct writer *w, uint32_t at, struct target to)
{
    return to.is_return ? returns(w, at, to.value) : at == to.value;
}

/* Where the same instruction with the same ways on is placed already: many calls have their
 * arguments judged alike. @next: the way on of what does not branch. */
static bool find_same(const struct writer *w, const struct sock_filter *i, struct target next,
                      const struct target *no, uint32_t *ret)
{
    for (uint32_t at = 1; at < w->height; at++) {
        const struct sock_filter *c = &w->code[at];
        if (c->code != i->code || c->k != i->k || c->jt >= at || c->jf >= at)
            continue;
        if (no == NULL ? leads(w, at - 1, next)
                       : leads(w, at - 1 - c->jt, next) && leads(w, at - 1 - c->jf, *no)) {
            *ret = at;
            return true;
        }
    }
    return false;
}

/* A placed instruction that does what @to does and is within reach of the next few written. */
static uint32_t near(struct writer *w, struct target to)
{
    if (to.is_return)
        return put_return(w, to.value).value;
    if (w->height - to.value <= REACH)
        return to.value;
    struct sock_filter jump = BPF_STMT(BPF_JMP | BPF_JA, w->height - to.value - 1);
    return put(w, jump);
}

static uint32_t put_branch(struct writer *w, uint16_t code, uint32_t k, struct target yes,
                           struct target no)
{
    uint32_t t = near(w, yes);
    uint32_t f = near(w, no);
    struct sock_filter branch =
        BPF_JUMP(code, k, (uint8_t)(w->height - t - 1), (uint8_t)(w->height - f - 1));
    return put(w, branch);
}

/* The next instruction that is written must run into @to. */
static void put_fallthrough(struct writer *w, struct target to)
{
    if (to.is_return) {
        struct sock_filter ret = BPF_STMT(BPF_RET | BPF_K, to.value);
        put(w, ret);
    } else if (to.value + 1 != w->height) {
        struct sock_filter jump = BPF_STMT(BPF_JMP | BPF_JA, w->height - to.value - 1);
        put(w, jump);
    }
}

static bool branch_taken(struct pass *p, const struct sock_filter *i, uint32_t a)
{
    switch (BPF_OP(i->code)) {
    case BPF_JEQ:
        return a == i->k;
    case BPF_JGT:
        return a > i->k;
    case BPF_JGE:
        return a >= i->k;
    default: /* JSET asks for bits of a number, not for a range */
        p->unknown = true;
        return false;
    }
}

static bool is_branch(const struct sock_filter *i)
{
    return BPF_CLASS(i->code) == BPF_JMP && BPF_OP(i->code) != BPF_JA && BPF_SRC(i->code) == BPF_K;
}

/* libseccomp looks at the upper half of a masked argument, although nothing of it is asked for. */
static bool is_masked_out(const struct pass *p, size_t pc)
{
    return pc + 1 < p->count && p->in[pc + 1].code == (BPF_ALU | BPF_AND | BPF_K) &&
           p->in[pc + 1].k == 0;
}

/* Follow the input from @pc for syscall @nr as long as every step is known beforehand. @known: the
 * accumulator holds *@a; otherwise it came from an argument. */
static struct target follow(struct pass *p, size_t pc, uint32_t nr, bool known, uint32_t a)
{
    while (pc < p->count) {
        const struct sock_filter *i = &p->in[pc];
        switch (i->code) {
        case BPF_RET | BPF_K:
            return (struct target){true, i->k};
        case BPF_JMP | BPF_JA:
            pc += (size_t)i->k + 1;
            continue;
        case BPF_LD | BPF_W | BPF_ABS:
            known = true;
            if (i->k == OFFSET_NR || i->k == OFFSET_ARCH) {
                a = i->k == OFFSET_NR ? nr : p->arch;
                pc++;
            } else if (is_masked_out(p, pc)) {
                a = 0;
                pc += 2;
            } else {
                return (struct target){false, (uint32_t)pc};
            }
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            if (!known)
                return (struct target){false, (uint32_t)pc};
            break;
        default:
            break;
        }
        if (!is_branch(i))
            break;
        if (!known)
            return (struct target){false, (uint32_t)pc};
        pc += 1U + (branch_taken(p, i, a) ? i->jt : i->jf);
    }
    p->unknown = true;
    return (struct target){true, SECCOMP_RET_KILL_PROCESS};
}

static void reach(struct pass *p, struct target to)
{
    if (!to.is_return)
        p->reached[to.value] = true;
}

static struct target place(const struct pass *p, struct target to)
{
    if (!to.is_return)
        to.value = p->placed[to.value];
    return to;
}

/* Write the code that judges the arguments of @nr, which starts at input position @start. */
static struct target write_block(struct pass *p, uint32_t start, uint32_t nr)
{
    memset(p->reached, 0, p->count * sizeof *p->reached);
    p->reached[start] = true;
    for (size_t pc = start; pc < p->count && !p->unknown; pc++) {
        if (!p->reached[pc])
            continue;
        const struct sock_filter *i = &p->in[pc];
        if (is_branch(i)) {
            reach(p, follow(p, pc + 1 + i->jt, nr, false, 0));
            reach(p, follow(p, pc + 1 + i->jf, nr, false, 0));
        } else {
            reach(p, follow(p, pc + 1, nr, false, 0));
        }
    }
    for (size_t pc = p->count; pc-- > start && !p->unknown;) {
        if (!p->reached[pc])
            continue;
        const struct sock_filter *i = &p->in[pc];
        if (is_branch(i)) {
            struct target yes = place(p, follow(p, pc + 1 + i->jt, nr, false, 0));
            struct target no = place(p, follow(p, pc + 1 + i->jf, nr, false, 0));
            if (!find_same(p->w, i, yes, &no, &p->placed[pc]))
                p->placed[pc] = put_branch(p->w, i->code, i->k, yes, no);
        } else {
            struct target next = place(p, follow(p, pc + 1, nr, false, 0));
            if (!find_same(p->w, i, next, NULL, &p->placed[pc])) {
                put_fallthrough(p->w, next);
                p->placed[pc] = put(p->w, *i);
            }
        }
    }
    return (struct target){false, p->placed[start]};
}

static struct target write_tree(struct writer *w, const struct range *ranges, size_t first,
                                size_t last)
{
    if (first == last)
        return ranges[first].to;
    size_t middle = first + (last - first + 1) / 2;
    struct target high = write_tree(w, ranges, middle, last);
    struct target low = write_tree(w, ranges, first, middle - 1);
    return (struct target){
        false, put_branch(w, BPF_JMP | BPF_JGE | BPF_K, ranges[middle].start, high, low)};
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Numbers at which the input may start to behave differently: what it compares with, and one past.
 */
static size_t boundaries(const struct seccomp_program *in, uint32_t *at)
{
    size_t n = 0;
    at[n++] = 0;
    for (size_t pc = 0; pc < in->count; pc++) {
        const struct sock_filter *i = &in->instructions[pc];
        if (!is_branch(i))
            continue;
        at[n++] = i->k;
        if (i->k != UINT32_MAX)
            at[n++] = i->k + 1;
    }
    qsort(at, n, sizeof *at, by_value);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++) {
        if (at[i] != at[kept - 1])
            at[kept++] = at[i];
    }
    return kept;
}

static bool compact(struct pass *p, const struct seccomp_program *in, uint32_t *at,
                    struct range *ranges)
{
    size_t n = boundaries(in, at), count = 0;
    for (size_t i = 0; i < n; i++) {
        struct target to = follow(p, 0, at[i], false, 0);
        if (p->unknown)
            return false;
        if (!to.is_return)
            to = write_block(p, to.value, at[i]);
        if (count > 0 && to.is_return && ranges[count - 1].to.is_return &&
            ranges[count - 1].to.value == to.value)
            continue;
        ranges[count++] = (struct range){at[i], to};
    }
    struct writer *w = p->w;
    put_fallthrough(w, write_tree(w, ranges, 0, count - 1));
    uint32_t tree = put(w, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, OFFSET_NR));
    put_branch(w, BPF_JMP | BPF_JEQ | BPF_K, p->arch, (struct target){false, tree},
               (struct target){true, SECCOMP_RET_KILL_PROCESS});
    put(w, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, OFFSET_ARCH));
    return !w->full && !p->unknown;
}

bool seccomp_compact(struct seccomp_program *ret, const struct seccomp_program *in, uint32_t arch)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct writer *w = arena_alloc(a, sizeof *w);
    bool *reached = arena_alloc(a, in->count * sizeof *reached);
    uint32_t *placed = arena_alloc(a, in->count * sizeof *placed);
    uint32_t *at = arena_alloc(a, (2 * in->count + 1) * sizeof *at);
    struct range *ranges = arena_alloc(a, (2 * in->count + 1) * sizeof *ranges);

    struct pass p = {in->instructions, in->count, arch, false, w, reached, placed};
    if (!compact(&p, in, at, ranges))
        return false;

    struct sock_filter *out = calloc(w->height, sizeof *out);
    if (out == NULL)
        return false;
    for (uint32_t i = 0; i < w->height; i++)
        out[i] = w->code[w->height - 1 - i];
    *ret = *in;
    ret->instructions = out;
    ret->count = w->height;
    return true;
}

#include "versions/elf_image.h"

#include <string.h>

#define PAGE 4096u

/* longer than any mangled name in use; keeps a file of endless names from costing its square */
#define NAME_MAX_BYTES 4096u

/* everything above is the kernel's, or cannot be mapped */
#define ADDRESS_END (1ULL << 47)

static const struct {
    int64_t tag;
    enum elf_dyn at;
} dynamic_tags[] = {
    {DT_HASH, DYN_HASH},         {DT_GNU_HASH, DYN_GNU_HASH}, {DT_STRTAB, DYN_STRTAB},
    {DT_STRSZ, DYN_STRSZ},       {DT_SYMTAB, DYN_SYMTAB},     {DT_SYMENT, DYN_SYMENT},
    {DT_RELA, DYN_RELA},         {DT_RELASZ, DYN_RELASZ},     {DT_RELAENT, DYN_RELAENT},
    {DT_JMPREL, DYN_JMPREL},     {DT_PLTRELSZ, DYN_PLTRELSZ}, {DT_PLTREL, DYN_PLTREL},
    {DT_RELR, DYN_RELR},         {DT_RELRSZ, DYN_RELRSZ},     {DT_RELRENT, DYN_RELRENT},
    {DT_REL, DYN_REL},           {DT_RELSZ, DYN_RELSZ},       {DT_SONAME, DYN_SONAME},
    {DT_RPATH, DYN_RPATH},       {DT_RUNPATH, DYN_RUNPATH},   {DT_TEXTREL, DYN_TEXTREL},
    {DT_FLAGS, DYN_FLAGS},       {DT_FLAGS_1, DYN_FLAGS_1},   {DT_AUDIT, DYN_AUDIT},
    {DT_DEPAUDIT, DYN_DEPAUDIT}, {DT_FILTER, DYN_FILTER},     {DT_AUXILIARY, DYN_AUXILIARY},
};

static bool within(uint64_t start, uint64_t size, uint64_t end)
{
    return start <= end && size <= end - start;
}

const void *elf_image_at(const struct elf_image *e, uint64_t address, uint64_t size)
{
    for (size_t i = 0; i < e->load_count; i++) {
        const struct elf_segment *s = &e->loads[i];
        if (address >= s->address && within(address - s->address, size, s->file_bytes))
            return e->data + s->offset + (address - s->address);
    }
    return NULL;
}

/* how many bytes of the file follow @address in its segment */
static uint64_t room_at(const struct elf_image *e, uint64_t address)
{
    for (size_t i = 0; i < e->load_count; i++) {
        const struct elf_segment *s = &e->loads[i];
        if (address >= s->address && address - s->address < s->file_bytes)
            return s->file_bytes - (address - s->address);
    }
    return 0;
}

const char *elf_image_text_at(const struct elf_image *e, uint64_t address, size_t max)
{
    uint64_t room = room_at(e, address);
    if (room > max)
        room = max;
    const char *text = elf_image_at(e, address, room);
    return text != NULL && room > 0 && memchr(text, '\0', room) != NULL ? text : NULL;
}

const char *elf_image_string(const struct elf_image *e, uint64_t offset)
{
    if (offset >= e->dyn[DYN_STRSZ])
        return NULL;
    const char *table = elf_image_at(e, e->dyn[DYN_STRTAB], e->dyn[DYN_STRSZ]);
    uint64_t room = e->dyn[DYN_STRSZ] - offset;
    if (table == NULL ||
        memchr(table + offset, '\0', room < NAME_MAX_BYTES ? room : NAME_MAX_BYTES) == NULL)
        return NULL;
    return table + offset;
}

bool elf_image_symbol(const struct elf_image *e, uint64_t index, Elf64_Sym *ret)
{
    uint64_t offset, address;
    if (__builtin_mul_overflow(index, sizeof *ret, &offset) ||
        __builtin_add_overflow(e->dyn[DYN_SYMTAB], offset, &address))
        return false;
    const void *at = elf_image_at(e, address, sizeof *ret);
    if (at == NULL)
        return false;
    memcpy(ret, at, sizeof *ret);
    return true;
}

static int read_header(struct elf_image *e, Elf64_Ehdr *h, struct error *err)
{
    if (e->size < SELFMAG || memcmp(e->data, ELFMAG, SELFMAG) != 0)
        return error_set(err, e->size < SELFMAG ? "verify.truncated" : "verify.garbage", 0,
                         "not an ELF file");
    if (e->size < EI_NIDENT)
        return error_set(err, "verify.truncated", 0, "the file ends within its ELF header");
    if (e->data[EI_CLASS] != ELFCLASS64 || e->data[EI_DATA] != ELFDATA2LSB)
        return error_set(err, "verify.class", 0,
                         "not a 64-bit little-endian ELF file (class %u, data %u)",
                         e->data[EI_CLASS], e->data[EI_DATA]);
    if (e->size < sizeof *h)
        return error_set(err, "verify.truncated", 0, "the file ends within its ELF header");
    memcpy(h, e->data, sizeof *h);
    if (h->e_machine != ELF_HOST_MACHINE || ELF_HOST_MACHINE == EM_NONE)
        return error_set(err, "verify.machine", 0,
                         "compiled for another machine (ELF machine %u; this is %s, %u)",
                         h->e_machine, ELF_MACHINE_NAMED, (unsigned)ELF_HOST_MACHINE);
    if (h->e_type != ET_DYN)
        return error_set(err, "verify.type", 0, "not a shared object (ELF type %u)", h->e_type);
    if (h->e_version != EV_CURRENT || e->data[EI_VERSION] != EV_CURRENT ||
        h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > ELF_MAX_SEGMENTS)
        return error_set(err, "verify.garbage", 0,
                         "the ELF header makes no sense (version %u, %u program headers of %u)",
                         h->e_version, h->e_phnum, h->e_phentsize);
    if (!within(h->e_phoff, (uint64_t)h->e_phnum * sizeof(Elf64_Phdr), e->size))
        return error_set(err, "verify.truncated", 0, "the file ends before its program headers");
    return 0;
}

static int add_segment(struct elf_image *e, const Elf64_Phdr *p, struct error *err)
{
    if (!within(p->p_offset, p->p_filesz, e->size))
        return error_set(
            err, "verify.truncated", 0,
            "the file ends within a segment (%zu bytes, the segment is at %llu + %llu)", e->size,
            (unsigned long long)p->p_offset, (unsigned long long)p->p_filesz);
    if (p->p_filesz > p->p_memsz || !within(p->p_vaddr, p->p_memsz, ADDRESS_END) ||
        p->p_vaddr % PAGE != p->p_offset % PAGE)
        return error_set(err, "verify.layout", 0, "a segment cannot be mapped as it is described");
    if (e->load_count > 0) {
        const struct elf_segment *last = &e->loads[e->load_count - 1];
        uint64_t end = (last->address + last->memory_bytes + PAGE - 1) / PAGE * PAGE;
        if (p->p_vaddr / PAGE * PAGE < end)
            return error_set(err, "verify.layout", 0, "segments overlap or are not in order");
    }
    e->loads[e->load_count++] = (struct elf_segment){.address = p->p_vaddr,
                                                     .offset = p->p_offset,
                                                     .file_bytes = p->p_filesz,
                                                     .memory_bytes = p->p_memsz,
                                                     .flags = p->p_flags};
    return 0;
}

static int read_segments(struct elf_image *e, const Elf64_Ehdr *h, Elf64_Phdr *ret_dynamic,
                         struct error *err)
{
    bool found = false;
    for (unsigned i = 0; i < h->e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, e->data + h->e_phoff + i * sizeof p, sizeof p);
        if (p.p_type == PT_LOAD) {
            if (add_segment(e, &p, err) < 0)
                return -1;
        } else if (p.p_type == PT_GNU_STACK) {
            e->has_stack_header = true;
            e->stack_flags |= p.p_flags;
        } else if (p.p_type == PT_DYNAMIC) {
            if (found)
                return error_set(err, "verify.garbage", 0, "two dynamic sections");
            *ret_dynamic = p;
            found = true;
        }
    }
    if (!found || e->load_count == 0)
        return error_set(err, "verify.garbage", 0, "no dynamic section: nothing can be loaded");
    return 0;
}

static int add_dynamic(struct elf_image *e, const Elf64_Dyn *d, struct error *err)
{
    if (d->d_tag == DT_NEEDED) {
        if (e->needed_count == ELF_MAX_NEEDED)
            return error_set(err, "verify.garbage", 0, "needs more than %d libraries",
                             ELF_MAX_NEEDED);
        e->needed[e->needed_count++] = d->d_un.d_val;
        return 0;
    }
    for (size_t i = 0; i < sizeof dynamic_tags / sizeof *dynamic_tags; i++) {
        if (dynamic_tags[i].tag != d->d_tag)
            continue;
        enum elf_dyn at = dynamic_tags[i].at;
        if (e->dyn_set[at]) /* loaders differ on which of the two counts */
            return error_set(err, "verify.garbage", 0, "dynamic tag 0x%llx stands twice",
                             (unsigned long long)d->d_tag);
        e->dyn_set[at] = true;
        e->dyn[at] = d->d_un.d_val;
    }
    return 0;
}

static int read_dynamic(struct elf_image *e, const Elf64_Phdr *p, struct error *err)
{
    const unsigned char *table = elf_image_at(e, p->p_vaddr, p->p_filesz);
    if (table == NULL)
        return error_set(err, "verify.garbage", 0, "the dynamic section lies outside the segments");
    for (uint64_t i = 0; i < p->p_filesz / sizeof(Elf64_Dyn); i++) {
        Elf64_Dyn d;
        memcpy(&d, table + i * sizeof d, sizeof d);
        if (d.d_tag == DT_NULL)
            return 0;
        if (add_dynamic(e, &d, err) < 0)
            return -1;
    }
    return error_set(err, "verify.garbage", 0, "the dynamic section has no end");
}

/* DT_HASH states the number; false when it is not in the file */
static bool count_by_hash(const struct elf_image *e, uint64_t *ret)
{
    uint32_t head[2];
    const void *at = elf_image_at(e, e->dyn[DYN_HASH], sizeof head);
    if (at == NULL)
        return false;
    memcpy(head, at, sizeof head);
    *ret = head[1];
    return true;
}

/* DT_GNU_HASH does not: the end of the longest chain tells */
static bool count_by_gnu_hash(const struct elf_image *e, uint64_t *ret)
{
    uint32_t head[4];
    uint64_t base = e->dyn[DYN_GNU_HASH];
    const void *at = elf_image_at(e, base, sizeof head);
    if (at == NULL)
        return false;
    memcpy(head, at, sizeof head);
    uint64_t buckets = base + sizeof head + (uint64_t)head[2] * 8;
    uint64_t chains = buckets + (uint64_t)head[0] * 4;
    const unsigned char *table = elf_image_at(e, buckets, (uint64_t)head[0] * 4);
    if (buckets < base || table == NULL)
        return false;

    uint32_t last = 0;
    for (uint32_t i = 0; i < head[0]; i++) {
        uint32_t first;
        memcpy(&first, table + (size_t)i * 4, 4);
        if (first > last)
            last = first;
    }
    if (last < head[1]) {
        *ret = head[1];
        return last == 0;
    }
    for (uint64_t i = last;; i++) {
        uint32_t hash;
        at = elf_image_at(e, chains + (i - head[1]) * 4, 4);
        if (at == NULL)
            return false;
        memcpy(&hash, at, 4);
        if ((hash & 1) != 0) {
            *ret = i + 1;
            return true;
        }
    }
}

static int read_symbols(struct elf_image *e, struct error *err)
{
    if (!e->dyn_set[DYN_STRTAB] || !e->dyn_set[DYN_STRSZ] || !e->dyn_set[DYN_SYMTAB] ||
        (!e->dyn_set[DYN_HASH] && !e->dyn_set[DYN_GNU_HASH]))
        return error_set(err, "verify.garbage", 0,
                         "no symbol, string or hash table: no symbol of it can be found");
    if (e->dyn_set[DYN_SYMENT] && e->dyn[DYN_SYMENT] != sizeof(Elf64_Sym))
        return error_set(err, "verify.garbage", 0, "symbols of %llu bytes",
                         (unsigned long long)e->dyn[DYN_SYMENT]);
    if (elf_image_at(e, e->dyn[DYN_STRTAB], e->dyn[DYN_STRSZ]) == NULL)
        return error_set(err, "verify.garbage", 0, "the string table lies outside the segments");

    uint64_t by_gnu = 0, by_hash = 0;
    if ((e->dyn_set[DYN_GNU_HASH] && !count_by_gnu_hash(e, &by_gnu)) ||
        (e->dyn_set[DYN_HASH] && !count_by_hash(e, &by_hash)))
        return error_set(err, "verify.garbage", 0, "a symbol hash table lies outside the segments");
    e->symbol_count = by_gnu > by_hash ? by_gnu : by_hash;
    if (elf_image_at(e, e->dyn[DYN_SYMTAB], e->symbol_count * sizeof(Elf64_Sym)) == NULL)
        return error_set(err, "verify.garbage", 0, "the symbol table lies outside the segments");
    return 0;
}

int elf_image_open(struct elf_image *e, const void *data, size_t size, struct error *err)
{
    *e = (struct elf_image){.data = data, .size = size};
    Elf64_Ehdr header = {0};
    Elf64_Phdr dynamic = {0};
    if (read_header(e, &header, err) < 0 || read_segments(e, &header, &dynamic, err) < 0 ||
        read_dynamic(e, &dynamic, err) < 0 || read_symbols(e, err) < 0)
        return -1;
    return 0;
}

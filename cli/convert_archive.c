/* convert_archive.c - a folder as one .bln, and back: byte for byte. */
#include "cli/convert_run.h"

#include "cli/dry_run.h"
#include "convert/archive.h"
#include "formats/bln/bln_reader.h"

#include <stdio.h>
#include <string.h>

/* What the archive costs beside what it holds. */
static bl_status print_sizes(const char *output, const bl_container *container, bool store,
                             struct bl_err *err)
{
    const uint64_t source = bl_archive_bytes(container);
    bl_text out = { 0 };
    char a[32], b[32];
    bl_container *made = NULL;
    bl_status rc = store ? bl_bln_open(&made, output, err) : BL_OK; /* it opens, too */

    if (rc != BL_OK)
        return rc;

    bl_text_put_name(&out, output);
    if (!store)
        bl_text_printf(&out, ": %zu tensors, %s, and %zu side files, byte for byte\n",
                       container->n_stored, bl_text_bytes(a, source), container->n_side_files);
    else
        bl_text_printf(&out, ": %zu tensors, %s, in %s (%.2f %%)\n", container->n_stored,
                       bl_text_bytes(a, source), bl_text_bytes(b, made->n_file_bytes),
                       100.0 * (double)made->n_file_bytes / (double)(source ? source : 1));
    bl_container_close(made);
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

static const char *stored_name(const void *container, size_t i)
{
    return ((const bl_container *)container)->stored[i].name;
}

/* What an archive, or what comes out of it, will take. */
static bl_status print_needs(const bl_convert_options *o, const bl_container *container,
                             const bl_archive_options *options, bool store, struct bl_err *err)
{
    const uint64_t source = bl_archive_bytes(container);
    bl_needs needs = { .source_bytes = source,
                       .memory_bytes = bl_archive_memory(container, options->n_threads),
                       .estimated = store,
                       .n_files = 1 };
    bl_text out = { 0 };
    char bytes[32];
    bl_status rc = BL_OK;

    if (store) {
        rc = bl_archive_estimate(&needs.disk_bytes, &needs.seconds, container, options, err);
    } else {
        needs.disk_bytes = bl_archive_restored_bytes(container);
        needs.n_files = bl_bln_n_shards(container) + container->n_side_files;
    }
    bl_text_put_name(&out, o->output);
    bl_text_printf(&out, ": %zu tensors, %s, byte for byte\n", container->n_stored,
                   bl_text_bytes(bytes, source));
    if (rc == BL_OK)
        rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc == BL_OK ? bl_cli_print_needs(&needs, o->output, &o->common, err) : rc;
}

bl_status bl_convert_archive(const bl_convert_options *o, const bl_ckpt *ckpt, bool store,
                             struct bl_err *err)
{
    const bl_container *container = bl_ckpt_container(ckpt);
    double resumed = 0, sha256_seconds = 0;
    bl_archive_options options = { .n_threads = (int)o->common.n_threads,
                                   .force = o->common.force,
                                   .resume = o->common.resume,
                                   .resumed = &resumed,
                                   .split_size = o->split_size,
                                   .sha256 = o->sha256,
                                   .sha256_seconds = &sha256_seconds,
                                   .skip_space_check = o->common.no_space_check,
                                   .strict = o->common.strict,
                                   .more = o->more,
                                   .style = strcmp(o->codec, "zlib") == 0 ? BL_BLN_PORTABLE
                                                                          : BL_BLN_BEST };
    bl_status rc;

    rc = bl_cli_fit_memory(&options.n_threads, o->memory, NULL, container, err);
    if (rc != BL_OK)
        return rc;
    if (o->common.dry_run)
        return print_needs(o, container, &options, store, err);
    rc = store ? bl_sanity_new(&options.sanity, container->n_stored, stored_name, container, err)
               : BL_OK;
    if (rc != BL_OK)
        return rc;
    options.progress =
        bl_progress_new(o->command->name, bl_archive_bytes(container), o->common.progress);
    rc = (store ? bl_archive_store : bl_archive_restore)(container, o->output, &options, err);
    bl_progress_free(options.progress);
    bl_cli_say_resumed(o->command, &o->common, resumed);
    if (rc == BL_OK && o->sha256 && !o->common.quiet)
        fprintf(stderr, "baleen: %s: SHA-256 of %zu files in %.1f s\n", o->command->name,
                container->n_shards + container->n_side_files, sha256_seconds);
    bl_cli_say_findings(o->command, &o->common, options.sanity);
    bl_sanity_free(options.sanity);
    return rc == BL_OK ? print_sizes(o->output, container, store, err) : rc;
}

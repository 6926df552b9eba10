/* sensitivity_store.c - see sensitivity_store.h. */
#include "quantize/sensitivity_store.h"

#include "base/alloc.h"
#include "quantize/quant.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_ROLES = 64, NAME_BYTES = 160 };

/* The name of a row without "model.layers.{L}.". */
static const char *name_of(const bl_arch_row *row)
{
    const char *layer = strstr(row->name, "{L}.");

    return layer ? layer + strlen("{L}.") : row->name;
}

/* The rows that are roles. */
static size_t list_roles(const bl_arch_row *role[MAX_ROLES], const bl_arch *arch)
{
    size_t n = 0;

    for (size_t i = 0; i < arch->n_rows && n < MAX_ROLES; i++)
        if (bl_sensitivity_is_role(&arch->row[i]))
            role[n++] = &arch->row[i];
    return n;
}

bl_status bl_sensitivity_save(const char *path, bool force, const bl_stats *stats,
                              const bl_sensitivity *s, struct bl_err *err)
{
    const bl_arch_row *role[MAX_ROLES];
    char *name[MAX_ROLES] = { NULL };
    const size_t n = list_roles(role, s->arch);
    const bl_quant *reference = bl_quant_of(s->reference);
    double *value = bl_alloc(((size_t)s->n_layers + 1) * n, sizeof(*value));
    bl_status rc = value && reference ? BL_OK : bl_fail_nomem(err, "sensitivities");

    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        name[i] = bl_format("%s %s", reference->name, name_of(role[i]));
        if (!name[i])
            rc = bl_fail_nomem(err, "sensitivities");
        for (size_t line = 0; line <= s->n_layers && rc == BL_OK; line++)
            value[line * n + i] = s->kl[line * s->arch->n_rows + (size_t)(role[i] - s->arch->row)];
    }
    if (rc == BL_OK)
        rc = bl_stats_add_sensitivity(path, force, stats, (const char *const *)name, n, value,
                                      (uint64_t)s->n_layers + 1, err);
    for (size_t i = 0; i < n; i++)
        bl_free(name[i]);
    bl_free(value);
    return rc;
}

/* "q4_0 NAME": the reference, and the rows of that name, of which there may be several. */
static bl_status take_role(bl_sensitivity *s, const bl_stats *stats, uint64_t i,
                           const double *value, uint64_t n_roles, struct bl_err *err)
{
    const char *role = bl_stats_sensitivity_role(stats, i), *space = strchr(role, ' ');
    char type[NAME_BYTES];
    const bl_quant *quant;

    if (!space || (size_t)(space - role) >= sizeof(type))
        return bl_fail(err, BL_E_FORMAT, "%s: sensitivities of '%s': a type and a tensor's name",
                       bl_stats_path(stats), role);
    memcpy(type, role, (size_t)(space - role));
    type[space - role] = '\0';
    quant = bl_quant_by_name(type);
    if (!quant || (i > 0 && quant->dtype != s->reference))
        return bl_fail(err, BL_E_FORMAT, "%s: sensitivities by '%s', not by one type that is known",
                       bl_stats_path(stats), type);
    s->reference = quant->dtype;
    for (size_t k = 0; k < s->arch->n_rows; k++) {
        if (!bl_sensitivity_is_role(&s->arch->row[k]) ||
            strcmp(name_of(&s->arch->row[k]), space + 1) != 0)
            continue;
        for (size_t line = 0; line <= s->n_layers; line++)
            s->kl[line * s->arch->n_rows + k] = value[line * n_roles + i];
    }
    return BL_OK;
}

bl_status bl_sensitivity_load(bl_sensitivity *out, bool *known, const bl_stats *stats,
                              const bl_config *config, struct bl_err *err)
{
    bl_sensitivity s = { .arch = config->arch, .n_layers = config->n_layers };
    const size_t n = ((size_t)config->n_layers + 1) * config->arch->n_rows;
    uint64_t n_rows, n_roles;
    double *value;
    bl_status rc;

    *known = false;
    if (!bl_stats_sensitivity_shape(&n_rows, &n_roles, stats))
        return BL_OK;
    if (n_rows != (uint64_t)config->n_layers + 1)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: sensitivities of %" PRIu64 " layers and what is outside, the model has "
                       "%u",
                       bl_stats_path(stats), n_rows - 1, config->n_layers);
    value = bl_alloc((size_t)(n_rows * n_roles), sizeof(*value));
    s.kl = bl_alloc(n, sizeof(*s.kl));
    rc = value && s.kl ? bl_stats_read_sensitivity(value, stats, err)
                       : bl_fail_nomem(err, "sensitivities");
    for (size_t i = 0; i < n && rc == BL_OK; i++)
        s.kl[i] = -1;
    for (uint64_t i = 0; i < n_roles && rc == BL_OK; i++)
        rc = take_role(&s, stats, i, value, n_roles, err);
    bl_free(value);
    if (rc != BL_OK) {
        bl_free(s.kl);
        return rc;
    }
    *out = s;
    *known = true;
    return BL_OK;
}

package io.unitycatalog.wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.catalyst.analysis.NamespaceAlreadyExistsException;
import org.apache.spark.sql.catalyst.analysis.NoSuchNamespaceException;
import org.apache.spark.sql.catalyst.analysis.NonEmptyNamespaceException;
import org.apache.spark.sql.connector.catalog.NamespaceChange;
import org.apache.spark.sql.connector.catalog.SupportsNamespaces;
import wherry.Api;
import wherry.Errors;

/** The schemas of a catalog of the wherry server. */
abstract class Schemas implements SupportsNamespaces {
  String name;
  Metastore store;

  /** Fails unless the namespace is a schema of this catalog. */
  final void requireSchema(String[] namespace) throws NoSuchNamespaceException {
    if (!namespaceExists(namespace)) {
      throw new NoSuchNamespaceException(namespace);
    }
  }

  @Override
  public String[][] listNamespaces() {
    List<String> names = new ArrayList<>(List.of(InformationSchema.NAME));
    if (!name.equals(Catalog.SYSTEM)) {
      store.schemas().forEach(s -> names.add(s.path("name").asText()));
    }
    return names.stream().distinct().sorted().map(n -> new String[] {n}).toArray(String[][]::new);
  }

  @Override
  public String[][] listNamespaces(String[] namespace) throws NoSuchNamespaceException {
    if (namespace.length == 0) {
      return listNamespaces();
    }
    requireSchema(namespace);
    return new String[0][];
  }

  @Override
  public boolean namespaceExists(String[] namespace) {
    return namespace.length == 1
        && (InformationSchema.is(namespace) || store.schemaEntry(namespace[0]).isPresent());
  }

  @Override
  public Map<String, String> loadNamespaceMetadata(String[] namespace)
      throws NoSuchNamespaceException {
    if (InformationSchema.is(namespace)) {
      return new HashMap<>();
    }
    JsonNode s = namespace.length == 1 ? store.schemaEntry(namespace[0]).orElse(null) : null;
    if (s == null) {
      throw new NoSuchNamespaceException(namespace);
    }
    Map<String, String> m = Metastore.properties(s);
    if (s.hasNonNull("comment")) {
      m.put(SupportsNamespaces.PROP_COMMENT, s.path("comment").asText());
    }
    if (s.hasNonNull("owner")) {
      m.put(SupportsNamespaces.PROP_OWNER, s.path("owner").asText());
    }
    return m;
  }

  @Override
  public void createNamespace(String[] namespace, Map<String, String> metadata)
      throws NamespaceAlreadyExistsException {
    if (namespace.length != 1) {
      throw Errors.analysis("a schema's name has one part below its catalog: "
          + String.join(".", namespace));
    }
    Map<String, String> properties = new HashMap<>(metadata);
    String comment = properties.remove(SupportsNamespaces.PROP_COMMENT);
    properties.remove(SupportsNamespaces.PROP_OWNER);
    try {
      store.createSchema(namespace[0], properties, comment);
    } catch (Api.ApiException e) {
      if (e.exists()) {
        throw new NamespaceAlreadyExistsException(namespace);
      }
      throw Errors.analysis(e.getMessage());
    }
  }

  @Override
  public void alterNamespace(String[] namespace, NamespaceChange... changes)
      throws NoSuchNamespaceException {
    Map<String, String> properties = loadNamespaceMetadata(namespace);
    ObjectNode body = Api.object();
    for (NamespaceChange c : changes) {
      if (c instanceof NamespaceChange.SetProperty s) {
        properties.put(s.property(), s.value());
      } else if (c instanceof NamespaceChange.RemoveProperty r) {
        properties.remove(r.property());
      }
    }
    String comment = properties.remove(SupportsNamespaces.PROP_COMMENT);
    String owner = properties.remove(SupportsNamespaces.PROP_OWNER);
    body.put("comment", comment == null ? "" : comment);
    if (owner != null) {
      body.put("owner", owner);
    }
    body.set("properties", Api.object().setAll(Metastore.strings(properties)));
    store.updateSchema(namespace[0], body);
  }

  @Override
  public boolean dropNamespace(String[] namespace, boolean cascade)
      throws NoSuchNamespaceException, NonEmptyNamespaceException {
    requireSchema(namespace);
    if (!cascade && !store.tables(namespace[0]).isEmpty()) {
      throw new NonEmptyNamespaceException(namespace);
    }
    try {
      store.deleteSchema(namespace[0], cascade);
    } catch (Api.ApiException e) {
      throw Errors.analysis(e.getMessage());
    }
    return true;
  }
}

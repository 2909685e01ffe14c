import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import javax.mail.Session;
import javax.mail.internet.*;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.*;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.mail.smime.*;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.jcajce.*;
import org.bouncycastle.util.Store;

/**
 * A Direct peer on BouncyCastle and JavaMail, the libraries of the Java reference implementation.
 *
 *   open OWN.pem ROOT.pem IN.eml OUT        decrypts, verifies every signer, writes what was signed, tells what it saw
 *   seal ORDER IN.eml OUT.eml               ORDER has a line each: recipient FILE TRANSPORT, signer FILE ALGORITHM,
 *                                           content CIPHER, form detached|opaque, wrap yes|no
 *
 * PEM files hold a certificate and its PKCS #8 key.
 */
public class DirectPeer {
  public static void main(String[] words) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    if (words[0].equals("open")) open(words[1], words[2], words[3], words[4]);
    else if (words[0].equals("seal")) seal(words[1], words[2], words[3]);
    else throw new IllegalArgumentException(words[0]);
  }

  // --- open ------------------------------------------------------------------------------------------------------------

  static void open(String ownFile, String rootFile, String inFile, String outFile) throws Exception {
    X509Certificate own = certificate(ownFile);
    PrivateKey key = privateKey(ownFile, own);
    MimeMessage outer = new MimeMessage(session(), new FileInputStream(inFile));
    byte[] plain = decrypted(outer, own, key);
    MimeBodyPart inner = new MimeBodyPart(new ByteArrayInputStream(plain));
    SMIMESigned signed = inner.isMimeType("multipart/signed")
      ? new SMIMESigned((MimeMultipart) inner.getContent())
      : new SMIMESigned(inner);
    verify(signed, certificate(rootFile));
    try (OutputStream out = new FileOutputStream(outFile)) {
      signed.getContent().writeTo(out);
    }
  }

  static byte[] decrypted(MimeMessage outer, X509Certificate own, PrivateKey key) throws Exception {
    boolean isGcm = outer.getContentType().toLowerCase().contains("authenveloped-data");
    byte[] cms = outer.getInputStream().readAllBytes();
    RecipientInformationStore recipients;
    if (isGcm) {
      CMSAuthEnvelopedData data = new CMSAuthEnvelopedData(cms);
      recipients = data.getRecipientInfos();
    } else {
      CMSEnvelopedData data = new CMSEnvelopedData(cms);
      recipients = data.getRecipientInfos();
      System.out.println("content " + data.getEncryptionAlgOID());
    }
    System.out.println("recipients " + recipients.size());
    for (RecipientInformation one : recipients.getRecipients()) {
      System.out.println("transport " + one.getKeyEncryptionAlgOID());
    }
    RecipientId mine = key.getAlgorithm().equals("RSA")
      ? new JceKeyTransRecipientId(own)
      : new JceKeyAgreeRecipientId(own);
    RecipientInformation found = recipients.get(mine);
    if (found == null) throw new CMSException("there is no RecipientInfo for us");
    boolean isRsa = key.getAlgorithm().equals("RSA");
    // BouncyCastle 1.72 has no recipient for key agreement in AuthEnvelopedData.
    if (isGcm && !isRsa) throw new CMSException("GCM with key agreement is not to be opened here");
    Recipient recipient = isGcm ? new JceKeyTransAuthEnvelopedRecipient(key).setProvider("BC")
      : isRsa ? new JceKeyTransEnvelopedRecipient(key).setProvider("BC")
      : new JceKeyAgreeEnvelopedRecipient(key).setProvider("BC");
    return found.getContent(recipient);
  }

  static void verify(SMIMESigned signed, X509Certificate root) throws Exception {
    Store<X509CertificateHolder> held = signed.getCertificates();
    System.out.println("signers " + signed.getSignerInfos().size());
    for (SignerInformation signer : signed.getSignerInfos().getSigners()) {
      @SuppressWarnings("unchecked")
      Collection<X509CertificateHolder> matches = held.getMatches(signer.getSID());
      X509Certificate certificate = new JcaX509CertificateConverter().getCertificate(matches.iterator().next());
      boolean isGood = signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(certificate));
      if (!isGood) throw new CMSException("a signature does not verify");
      chains(certificate, held, root);
      System.out.println("signer " + signer.getDigestAlgOID() + " " + signer.getEncryptionAlgOID());
    }
  }

  static void chains(X509Certificate leaf, Store<X509CertificateHolder> held, X509Certificate root) throws Exception {
    X509CertSelector target = new X509CertSelector();
    target.setCertificate(leaf);
    java.security.cert.PKIXBuilderParameters wanted =
      new PKIXBuilderParameters(Set.of(new TrustAnchor(root, null)), target);
    List<X509Certificate> pool = new ArrayList<>();
    for (X509CertificateHolder one : held.getMatches(null)) pool.add(new JcaX509CertificateConverter().getCertificate(one));
    wanted.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(pool)));
    wanted.setRevocationEnabled(false);
    CertPathBuilder.getInstance("PKIX").build(wanted);
  }

  // --- seal ------------------------------------------------------------------------------------------------------------

  static void seal(String orderFile, String inFile, String outFile) throws Exception {
    List<String[]> order = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(orderFile))) order.add(line.trim().split(" +"));
    byte[] message = Files.readAllBytes(Path.of(inFile));
    MimeBodyPart entity = only(order, "wrap").equals("yes") ? wrapped(message) : new MimeBodyPart(new ByteArrayInputStream(message));
    MimeBodyPart signed = sign(order, entity);
    ByteArrayOutputStream plain = new ByteArrayOutputStream();
    signed.writeTo(plain);

    String cipher = only(order, "content");
    boolean isGcm = cipher.endsWith("gcm");
    byte[] cms = isGcm ? authEnveloped(order, plain.toByteArray(), cipher) : enveloped(order, plain.toByteArray(), cipher);
    MimeMessage head = new MimeMessage(session(), new ByteArrayInputStream(message));
    StringBuilder out = new StringBuilder();
    for (String name : List.of("From", "To", "Message-ID", "Date"))
      out.append(name).append(": ").append(head.getHeader(name, ", ")).append("\r\n");
    out.append("MIME-Version: 1.0\r\n");
    out.append("Content-Type: application/pkcs7-mime; name=\"smime.p7m\"; smime-type=");
    out.append(isGcm ? "authEnveloped-data" : "enveloped-data").append("\r\n");
    out.append("Content-Transfer-Encoding: base64\r\n");
    out.append("Content-Disposition: attachment; filename=\"smime.p7m\"\r\n\r\n");
    out.append(Base64.getMimeEncoder(76, new byte[] {13, 10}).encodeToString(cms)).append("\r\n");
    Files.write(Path.of(outFile), out.toString().getBytes(StandardCharsets.ISO_8859_1));
  }

  static MimeBodyPart wrapped(byte[] message) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    bytes.write("Content-Type: message/rfc822\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
    bytes.write(message);
    return new MimeBodyPart(new ByteArrayInputStream(bytes.toByteArray()));
  }

  static MimeBodyPart sign(List<String[]> order, MimeBodyPart entity) throws Exception {
    SMIMESignedGenerator generator = new SMIMESignedGenerator(SMIMESignedGenerator.RFC5751_MICALGS);
    List<X509Certificate> certificates = new ArrayList<>();
    for (String[] words : order) {
      if (!words[0].equals("signer")) continue;
      X509Certificate certificate = certificate(words[1]);
      certificates.add(certificate);
      generator.addSignerInfoGenerator(
        new JcaSimpleSignerInfoGeneratorBuilder().setProvider("BC").build(words[2], privateKey(words[1], certificate), certificate));
    }
    generator.addCertificates(new JcaCertStore(certificates));
    if (only(order, "form").equals("opaque")) return generator.generateEncapsulated(entity);
    MimeBodyPart part = new MimeBodyPart();
    MimeMultipart both = generator.generate(entity);
    part.setContent(both);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    bytes.write(("Content-Type: " + both.getContentType() + "\r\n\r\n").getBytes(StandardCharsets.US_ASCII));
    both.writeTo(bytes);
    return new MimeBodyPart(new ByteArrayInputStream(bytes.toByteArray()));
  }

  static byte[] enveloped(List<String[]> order, byte[] plain, String cipher) throws Exception {
    CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
    for (RecipientInfoGenerator one : recipients(order)) generator.addRecipientInfoGenerator(one);
    ASN1ObjectIdentifier oid = Map.of(
      "aes128-cbc", CMSAlgorithm.AES128_CBC, "aes192-cbc", CMSAlgorithm.AES192_CBC, "aes256-cbc", CMSAlgorithm.AES256_CBC,
      "3des", CMSAlgorithm.DES_EDE3_CBC).get(cipher);
    return generator.generate(new CMSProcessableByteArray(plain),
      new JceCMSContentEncryptorBuilder(oid).setProvider("BC").build()).getEncoded();
  }

  static byte[] authEnveloped(List<String[]> order, byte[] plain, String cipher) throws Exception {
    CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
    for (RecipientInfoGenerator one : recipients(order)) generator.addRecipientInfoGenerator(one);
    ASN1ObjectIdentifier oid = Map.of("aes128-gcm", CMSAlgorithm.AES128_GCM, "aes256-gcm", CMSAlgorithm.AES256_GCM).get(cipher);
    return generator.generate(new CMSProcessableByteArray(plain),
      (OutputAEADEncryptor) new JceCMSContentEncryptorBuilder(oid).setProvider("BC").build()).getEncoded();
  }

  static List<RecipientInfoGenerator> recipients(List<String[]> order) throws Exception {
    List<RecipientInfoGenerator> made = new ArrayList<>();
    JcaAlgorithmParametersConverter parameters = new JcaAlgorithmParametersConverter();
    for (String[] words : order) {
      if (!words[0].equals("recipient")) continue;
      X509Certificate certificate = certificate(words[1]);
      switch (words[2]) {
        case "pkcs1" -> made.add(new JceKeyTransRecipientInfoGenerator(certificate).setProvider("BC"));
        case "oaep-sha1", "oaep-sha256" -> {
          String hash = words[2].equals("oaep-sha1") ? "SHA-1" : "SHA-256";
          AlgorithmIdentifier oaep = parameters.getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP,
            new OAEPParameterSpec(hash, "MGF1", new MGF1ParameterSpec(hash), PSource.PSpecified.DEFAULT));
          made.add(new JceKeyTransRecipientInfoGenerator(certificate, oaep).setProvider("BC"));
        }
        case "ecdh-sha1", "ecdh-sha256", "ecdh-sha384", "ecdh-sha256-ukm" -> {
          KeyPairGenerator keys = KeyPairGenerator.getInstance("EC", "BC");
          keys.initialize(((java.security.interfaces.ECPublicKey) certificate.getPublicKey()).getParams());
          KeyPair ephemeral = keys.generateKeyPair();
          ASN1ObjectIdentifier agreement = words[2].startsWith("ecdh-sha1") ? CMSAlgorithm.ECDH_SHA1KDF
            : words[2].startsWith("ecdh-sha256") ? CMSAlgorithm.ECDH_SHA256KDF : CMSAlgorithm.ECDH_SHA384KDF;
          ASN1ObjectIdentifier wrap = words[2].equals("ecdh-sha1") ? CMSAlgorithm.AES128_WRAP : CMSAlgorithm.AES256_WRAP;
          JceKeyAgreeRecipientInfoGenerator one = new JceKeyAgreeRecipientInfoGenerator(
            agreement, ephemeral.getPrivate(), ephemeral.getPublic(), wrap).setProvider("BC");
          if (words[2].endsWith("-ukm")) one.setUserKeyingMaterial("keying material".getBytes(StandardCharsets.US_ASCII));
          made.add(one.addRecipient(certificate));
        }
        default -> throw new IllegalArgumentException(words[2]);
      }
    }
    return made;
  }

  // --- files -----------------------------------------------------------------------------------------------------------

  static Session session() {
    return Session.getInstance(new Properties());
  }

  static String only(List<String[]> order, String key) {
    for (String[] words : order) if (words[0].equals(key)) return words[1];
    throw new IllegalArgumentException("the order has no " + key);
  }

  static X509Certificate certificate(String file) throws Exception {
    byte[] der = block(file, "CERTIFICATE");
    return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(der));
  }

  static PrivateKey privateKey(String file, X509Certificate certificate) throws Exception {
    String algorithm = certificate.getPublicKey().getAlgorithm();
    return KeyFactory.getInstance(algorithm, "BC").generatePrivate(new PKCS8EncodedKeySpec(block(file, "PRIVATE KEY")));
  }

  static byte[] block(String file, String label) throws Exception {
    String text = Files.readString(Path.of(file));
    String begin = "-----BEGIN " + label + "-----";
    int from = text.indexOf(begin) + begin.length();
    return Base64.getMimeDecoder().decode(text.substring(from, text.indexOf("-----END " + label + "-----")));
  }
}
